"""Songs as music: every style plays, stems differ, seeds differ, nothing clips."""

from itertools import combinations

import numpy as np
import pytest

from pipelines.synthesis.composer import compose
from pipelines.synthesis.mixer import quantise
from pipelines.synthesis.score import STEMS
from pipelines.synthesis.songs import SongPlan, render, render_mixture
from pipelines.synthesis.styles import STYLES


@pytest.mark.parametrize("style", range(len(STYLES)))
def test_every_style_fills_four_stems(style: int) -> None:
    stems = render(SongPlan((3, style), style, seconds=9.0))
    assert tuple(stems) == STEMS
    for sound in stems.values():
        assert sound.shape == (round(9.0 * 44_100), 2)
        assert sound.dtype == np.float32
        assert np.sqrt(np.mean(sound**2)) > 1e-3
    for one, other in combinations(stems.values(), 2):
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 0.2
    assert 0.5 < np.abs(sum(stems.values())).max() < 0.96


def test_one_seed_one_song_another_seed_another_song() -> None:
    first, again, other = (render_mixture(SongPlan((seed,), 0, seconds=3.0)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.3


def test_what_sounds_where_in_the_spectrum() -> None:
    stems = render(SongPlan((5,), 0, seconds=8.0))
    centroid = {}
    for stem, sound in stems.items():
        power = np.abs(np.fft.rfft(sound.mean(axis=1))) ** 2
        frequency = np.fft.rfftfreq(len(sound), 1 / 44_100)
        centroid[stem] = (power * frequency).sum() / power.sum()
    assert centroid["bass"] == min(centroid.values())


@pytest.mark.parametrize("style", range(len(STYLES)))
@pytest.mark.parametrize("seconds", [3.0, 24.0, 200.0])
def test_scores_are_playable(style: int, seconds: float) -> None:
    song = compose(STYLES[style], seconds, np.random.default_rng(4))
    for part in song.parts:
        assert part.notes
        for note in part.notes:
            assert 0 <= note.pitch <= 127
            assert 1 <= note.velocity <= 127
            assert 0 <= note.start < seconds
            assert note.seconds > 0


def test_long_songs_have_sections_without_the_voice_or_the_drums() -> None:
    stems = render(SongPlan((11,), 1, seconds=40.0))
    silent = {
        stem: np.mean(np.square(sound[: 80 * 22_050]).reshape(80, -1).mean(axis=1) < 1e-6)
        for stem, sound in stems.items()
    }
    assert silent["vocals"] > 0.05
    assert max(silent.values()) < 0.9


def test_instrumentals_have_no_vocals() -> None:
    stems = render(SongPlan((2,), 3, seconds=3.0, sung=False))
    assert not stems["vocals"].any()
    assert stems["other"].any()


def test_quantising_rounds() -> None:
    sound = np.array([[0.95, -0.95], [0.4 / 32_767, 0.6 / 32_767]], dtype=np.float32)
    np.testing.assert_array_equal(quantise(sound), [[31_129, -31_129], [0, 1]])
