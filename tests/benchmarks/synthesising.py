"""Making the demo's music: whole tracks, and the two parts of the work."""

import tempfile
from pathlib import Path

from pipelines.synthesis import fma_corpus, musdb_corpus
from pipelines.synthesis.config import SynthesisConfig
from pipelines.synthesis.corpora import synthesise
from pipelines.synthesis.score import SAMPLE_RATE
from pipelines.synthesis.songs import render_mixture
from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.measure import Variant, in_turns
from tests.benchmarks.report.form import Figure, Measurement

CONFIG = SynthesisConfig(
    tracks=3, track_seconds=24, train_songs=1, validation_songs=1, test_songs=1,
    song_seconds=24, damaged=False, workers=1,
)  # fmt: skip
ROUNDS = 3


def run(quick: bool) -> Measurement:
    """Measure on one core."""
    tracks, songs = fma_corpus.plan_tracks(CONFIG), musdb_corpus.plan_songs(CONFIG)
    sounds = [render_mixture(track.plan) for track in tracks]
    fma = sum(track.plan.seconds for track in tracks)
    total = fma + sum(song.plan.seconds for song in songs)
    variants = [
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
    ]
    rows = in_turns(variants, 1 if quick else ROUNDS, "processor")
    rate = tuple(total / seconds for seconds in rows[0].seconds)
    figures = (
        Figure(what="music made in a core-second", unit="s", values=rate),
        Figure(what="of the music, that of the FMA tracks", unit="s", values=(fma,)),
    )
    return Measurement(
        amount=total, unit="s of music", clock="processor", rows=rows, figures=figures
    )


def _both() -> None:
    with tempfile.TemporaryDirectory() as folder:
        synthesise(CONFIG, Path(folder))


BENCHMARK = Benchmark(
    name="synthesising",
    title="Synthesising the demo corpora",
    words=f"""\
Both archives of a small demo, one worker, in processor time: {CONFIG.tracks} FMA tracks and
{CONFIG.train_songs + CONFIG.validation_songs + CONFIG.test_songs} songs with stems. The other rows
are parts of the FMA half, measured separately.""",
    omitted="several workers.",
    run=run,
)
