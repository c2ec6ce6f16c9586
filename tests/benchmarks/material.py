"""What the benchmarks work on: synthesised music in the true archive formats, made once a run."""

import atexit
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pipelines.config import FmaConfig, SynthesisConfig
from pipelines.fma import read_tracks
from pipelines.pack import PackRequest, corpus_key
from pipelines.plan import make_plan
from pipelines.synthesis import fma_corpus
from pipelines.synthesis.archives import new_archive
from storage.layout import Home
from tests.synthesised import write_zip

TRACKS = 8
"""A unit of the demo recipe."""
CONFIG = FmaConfig(archive="fma_bench.zip", unit_tracks=TRACKS)


class Music(NamedTuple):
    """An FMA archive, its tracks' MP3s among it, and how long they last."""

    archive: Path
    metadata: Path
    seconds: float


@cache
def workplace() -> Path:
    """Return a folder that vanishes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="stemworks-bench-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@cache
def music() -> Music:
    """Write an archive of sound tracks only, one of them at 48 kHz."""
    plan = SynthesisConfig(tracks=TRACKS - 1, track_seconds=30)
    tracks = [t for t in fma_corpus.plan_tracks(plan) if t.accident in (None, "48 kHz")]
    archive, metadata = workplace() / CONFIG.archive, workplace() / "fma_metadata.zip"
    with new_archive(archive) as target:
        files = map(fma_corpus.make_file, tracks)
        for _ in fma_corpus.write_fma(target, archive.stem, tracks, files):
            pass
    table = fma_corpus.tracks_table(tracks, "bench").encode()
    write_zip(metadata, {"fma_metadata/tracks.csv": table})
    return Music(archive, metadata, sum(track.seconds for track in tracks))


def request(name: str) -> PackRequest:
    """Return the one unit of the archive, to be packed into a home called `name`."""
    archive, metadata, _ = music()
    plan = make_plan(read_tracks(archive, metadata), CONFIG)
    home = Home(workplace() / name)
    corpus = home.corpus("fma", corpus_key(plan, CONFIG))
    return PackRequest(home.root, corpus.root, archive, plan.units[0], CONFIG)
