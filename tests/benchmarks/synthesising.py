"""Making the demo's music: whole tracks, and the two parts of the work."""

import tempfile
from pathlib import Path

from pipelines.config import SynthesisConfig
from pipelines.synthesis import fma_corpus, musdb_corpus
from pipelines.synthesis.corpora import synthesise
from pipelines.synthesis.score import SAMPLE_RATE
from pipelines.synthesis.songs import render_mixture
from tests.benchmarks.measure import Result, Variant, in_turns

CONFIG = SynthesisConfig(
    tracks=3, track_seconds=24, train_songs=1, validation_songs=1, test_songs=1,
    song_seconds=24, damaged=False, workers=1,
)  # fmt: skip
ROUNDS = 3


def run() -> Result:
    """Measure on one core."""
    tracks, songs = fma_corpus.plan_tracks(CONFIG), musdb_corpus.plan_songs(CONFIG)
    sounds = [render_mixture(track.plan) for track in tracks]
    fma = sum(track.plan.seconds for track in tracks)
    total = fma + sum(song.plan.seconds for song in songs)
    rows = in_turns(
        [
            Variant("synthesise: both archives, one worker", "ours", _both),
            Variant(
                "of it: compose and play the FMA tracks",
                "other",
                lambda: [render_mixture(track.plan) for track in tracks],
            ),
            Variant(
                "of it: encode them as MP3",
                "floor",
                lambda: [fma_corpus.encode(sound, SAMPLE_RATE) for sound in sounds],
            ),
        ],
        ROUNDS,
    )
    notes = (
        f"{total / rows[0].median:.1f} seconds of music per core-second",
        f"the FMA part is {fma:.0f} s of it",
    )
    return Result("Synthesising the demo corpora", rows, total, "s of music", notes)


def _both() -> None:
    with tempfile.TemporaryDirectory() as folder:
        synthesise(CONFIG, Path(folder))
