"""Synthesise the demo corpora: music made on the spot, in the real archives' formats."""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.synthesis import fma_corpus, musdb_corpus
from pipelines.synthesis.config import SynthesisConfig
from pipelines.synthesis.ordered_pool import OrderedPool, open_pool
from pipelines.synthesis.soundfont import soundfont_path
from pipelines.synthesis.synthetic_archives import add_member, new_archive

SUBSET = "demo"

Tick = Callable[[], None]


@dataclass(frozen=True)
class Corpora:
    """Where the archives lie."""

    fma: Path
    fma_metadata: Path
    musdb: Path


def synthesise(
    config: SynthesisConfig, folder: Path, progress: Callable[[int, int], None] | None = None
) -> Corpora:
    """Write the demo archives into `folder`; `progress` hears (songs done, songs in all).

    The same configuration gives the same bytes, however many workers render.

    Raises:
        ConfigError: the configuration asks for more than the formats hold.
        MachineError: the SoundFont is missing, or the disk is full or forbidden.
        RunError: a rendering process died.
    """
    corpora = Corpora(
        folder / f"fma_{SUBSET}.zip",
        folder / "fma_metadata.zip",
        folder / f"musdb18hq_{SUBSET}.zip",
    )
    # Everything that can be refused is refused before the first note.
    tracks, songs = fma_corpus.plan_tracks(config), musdb_corpus.plan_songs(config)
    soundfont_path()
    tick = _counter(len(tracks) + len(songs), progress)
    with open_pool(config.workers) as pool:
        _write_fma(corpora, tracks, pool, tick)
        _write_musdb(corpora.musdb, songs, pool, tick)
    return corpora


def _write_fma(
    corpora: Corpora, tracks: tuple[fma_corpus.Track, ...], pool: OrderedPool, tick: Tick
) -> None:
    with new_archive(corpora.fma) as archive:
        files = pool.in_order(fma_corpus.make_file, tracks)
        for _ in fma_corpus.write_fma(archive, corpora.fma.stem, tracks, files):
            tick()
    table = fma_corpus.tracks_table(tracks, SUBSET)
    with new_archive(corpora.fma_metadata) as archive:
        add_member(archive, "fma_metadata/tracks.csv", table.encode(), zipfile.ZIP_BZIP2)


def _write_musdb(
    path: Path, songs: tuple[musdb_corpus.StemSong, ...], pool: OrderedPool, tick: Tick
) -> None:
    with new_archive(path) as archive:
        made = pool.in_order(musdb_corpus.make_stems, songs)
        for song, stems in zip(songs, made, strict=True):
            musdb_corpus.write_song(archive, song, stems)
            tick()


def _counter(total: int, progress: Callable[[int, int], None] | None) -> Tick:
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return tick
