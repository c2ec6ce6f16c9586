"""One song by its number: what to compose, and the resulting stems."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from pipelines.synthesis.composer import compose
from pipelines.synthesis.mixer import perform
from pipelines.synthesis.score import Sound, Stem
from pipelines.synthesis.styles import STYLES

LENGTH_SPREAD = 0.25


@dataclass(frozen=True)
class SongPlan:
    """All that decides a song. Small, so that it can be sent to another process."""

    seed: tuple[int, ...]
    style: int
    """Counted round `STYLES`."""
    seconds: float
    sung: bool = True


def render(plan: SongPlan) -> dict[Stem, Sound]:
    """Compose and play a song: four stems `(frames, 2)`, 44.1 kHz."""
    composing, playing = np.random.default_rng(plan.seed).spawn(2)
    style = STYLES[plan.style % len(STYLES)]
    return perform(compose(style, plan.seconds, composing, plan.sung), playing)


def render_mixture(plan: SongPlan) -> Sound:
    """Compose, play and mix a song: `(frames, 2)`, 44.1 kHz."""
    drums, bass, other, vocals = render(plan).values()
    return drums + bass + other + vocals


def draw_seconds(mean: float, rng: Generator) -> float:
    """Draw a length within a quarter of the mean."""
    return float(mean * rng.uniform(1 - LENGTH_SPREAD, 1 + LENGTH_SPREAD))
