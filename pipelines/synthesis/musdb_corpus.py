"""The MUSDB18-HQ corpus: five 16-bit WAVs per song, the mixture the exact sum of the stems."""

import zipfile
from dataclasses import dataclass

import numpy as np

from pipelines.config import MUSDB_VALIDATION
from pipelines.synthesis.catalogue import artist_names, song_titles
from pipelines.synthesis.config import SynthesisConfig
from pipelines.synthesis.mixer import quantise
from pipelines.synthesis.score import SAMPLE_RATE, Pcm, Stem
from pipelines.synthesis.songs import SongPlan, draw_seconds, render
from pipelines.synthesis.styles import STYLES
from pipelines.synthesis.synthetic_archives import add_member
from storage.audio.wav_headers import wav_file
from storage.errors import ConfigError

CORPUS = 2
"""Keeps this corpus's random numbers apart from the other's."""


@dataclass(frozen=True)
class StemSong:
    """One folder of the archive and how to make what lies in it."""

    folder: str
    plan: SongPlan


def plan_songs(config: SynthesisConfig) -> tuple[StemSong, ...]:
    """Return the archive's songs: the validation titles, the rest of `train`, then `test`.

    Raises:
        ConfigError: more validation songs than official titles or than train songs.
    """
    most = min(len(MUSDB_VALIDATION), config.train_songs)
    if config.validation_songs > most:
        raise ConfigError(
            f"validation_songs = {config.validation_songs}: they are train songs under official "
            f"titles, of which there are at most {most} here; ask for fewer or for more train_songs"
        )
    rng = np.random.default_rng((config.seed, CORPUS))
    artists, titles = artist_names(rng), song_titles(rng)
    styles = rng.permutation(len(STYLES))
    songs = []
    for index in range(config.train_songs + config.test_songs):
        name = f"{next(artists)} - {next(titles)}"
        if index < config.validation_songs:
            name = MUSDB_VALIDATION[index]
        plan = SongPlan(
            seed=(config.seed, CORPUS, index),
            style=int(styles[index % len(styles)]),
            seconds=draw_seconds(config.song_seconds, rng),
        )
        split = "train" if index < config.train_songs else "test"
        songs.append(StemSong(f"{split}/{name}", plan))
    return tuple(songs)


def make_stems(song: StemSong) -> dict[Stem, Pcm]:
    """Return a song's four stems, `(frames, 2)` of 16 bits."""
    return {stem: quantise(sound) for stem, sound in render(song.plan).items()}


def write_song(archive: zipfile.ZipFile, song: StemSong, stems: dict[Stem, Pcm]) -> None:
    """Add a song's five files, in the order of their names."""
    mixture = np.stack([*stems.values()]).sum(axis=0, dtype=np.int32)
    # `perform` leaves the sum headroom; a wrapped sample would be our mistake.
    assert np.abs(mixture).max(initial=0) <= np.iinfo(np.int16).max
    sounds: list[tuple[str, Pcm]] = [*stems.items(), ("mixture", mixture.astype(np.int16))]
    for name, sound in sorted(sounds, key=lambda item: item[0]):
        add_member(
            archive,
            f"{song.folder}/{name}.wav",
            wav_file([sound], SAMPLE_RATE),
            zipfile.ZIP_DEFLATED,
        )
