"""The FMA corpus: MP3s under six-digit ids, their checksums, the table of tracks, accidents."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soundfile
import soxr

from pipelines.synthesis.catalogue import Credit, draw_credits
from pipelines.synthesis.config import SynthesisConfig
from pipelines.synthesis.score import SAMPLE_RATE, Sound
from pipelines.synthesis.songs import SongPlan, draw_seconds, render_mixture
from pipelines.synthesis.styles import STYLES
from pipelines.synthesis.synthetic_archives import add_member
from storage.errors import ConfigError

CORPUS = 1
"""Keeps this corpus's random numbers apart from the other's."""
HIGHEST_ID = 155_320
INSTRUMENTAL_SHARE = 0.15
SHORT_SECONDS = 3.0
GAP_SECONDS = 14.0
TRUNCATED_SHARE = 4
"""A truncated file keeps one byte in so many."""
VBR_LEVEL = 0.3
"""LAME's quality, 0 best to 1; about 160 kbit/s for this music, at 49 times real time."""
README = b"Music synthesised for a demonstration, in the layout of the FMA archives.\n"
NOT_AUDIO = b"<html><head><title>404 Not Found</title></head><body>Not Found</body></html>\n" * 250

Accident = Literal[
    "empty", "not audio", "truncated", "short", "22.05 kHz", "48 kHz", "mono", "silent gap"
]
ACCIDENTS: dict[int, Accident] = {
    2096: "48 kHz",
    3570: "mono",
    3573: "22.05 kHz",
    12346: "silent gap",
    98565: "short",
    99134: "empty",
    108925: "not audio",
    133297: "truncated",
}
"""By id; ids of real files with such a story, where there is one."""


@dataclass(frozen=True)
class Track:
    """One file of the archive: how to make it and what the table says of it."""

    number: int
    plan: SongPlan
    credit: Credit
    accident: Accident | None = None

    @property
    def path(self) -> str:
        """Return where it lies below the archive's folder."""
        return f"{self.number // 1000:03d}/{self.number:06d}.mp3"

    @property
    def seconds(self) -> float:
        """Return the length that the table promises."""
        return self.plan.seconds + (GAP_SECONDS if self.accident == "silent gap" else 0)

    @property
    def genre(self) -> str:
        """Return its top genre."""
        return STYLES[self.plan.style % len(STYLES)].genre


def plan_tracks(config: SynthesisConfig) -> tuple[Track, ...]:
    """Return the archive's tracks by ascending id, accidents included when asked for.

    Raises:
        ConfigError: more tracks than the archive has ids for.
    """
    rng = np.random.default_rng((config.seed, CORPUS))
    count = config.tracks + (len(ACCIDENTS) if config.damaged else 0)
    numbers = _draw_numbers(config.tracks, rng)
    accidents = tuple(ACCIDENTS.items()) if config.damaged else ()
    # The accidents' artists come last and train, whatever the draw says.
    credit = draw_credits(config.tracks, rng) + _accident_credits(count - config.tracks, rng)
    styles = rng.permutation(len(STYLES))
    tracks = []
    for index, (number, accident) in enumerate([*((n, None) for n in numbers), *accidents]):
        seconds = SHORT_SECONDS if accident == "short" else draw_seconds(config.track_seconds, rng)
        plan = SongPlan(
            seed=(config.seed, CORPUS, index),
            style=int(styles[credit[index].band % len(styles)]),
            seconds=seconds,
            sung=bool(rng.random() > INSTRUMENTAL_SHARE),
        )
        tracks.append(Track(number, plan, credit[index], accident))
    return tuple(sorted(tracks, key=lambda track: track.number))


def _draw_numbers(count: int, rng: np.random.Generator) -> list[int]:
    """Draw ids as scattered as the real ones; the first is 2, as there."""
    pool = np.setdiff1d(np.arange(3, HIGHEST_ID), list(ACCIDENTS))
    if count > len(pool):
        raise ConfigError(f"tracks = {count}: the archive has ids for {len(pool)}; ask for fewer")
    return [2, *sorted(int(number) for number in rng.choice(pool, count - 1, replace=False))]


def _accident_credits(count: int, rng: np.random.Generator) -> tuple[Credit, ...]:
    return tuple(
        Credit("Various Accidents", "training", credit.licence, credit.title, credit.band)
        for credit in draw_credits(count, rng)
    )


def make_file(track: Track) -> bytes:
    """Return a track's MP3, or what its accident left of it."""
    if track.accident == "empty":
        return b""
    if track.accident == "not audio":
        return NOT_AUDIO
    sound, rate = render_mixture(track.plan), SAMPLE_RATE
    if track.accident == "silent gap":
        sound = _with_gap(sound)
    elif track.accident == "mono":
        sound = sound.mean(axis=1, keepdims=True)
    elif track.accident in ("22.05 kHz", "48 kHz"):
        rate = 48_000 if track.accident == "48 kHz" else 22_050
        sound = soxr.resample(sound, SAMPLE_RATE, rate, quality="HQ")
    data = encode(sound, rate)
    # The header still promises the whole: only decoding shows what is missing.
    return data[: len(data) // TRUNCATED_SHARE] if track.accident == "truncated" else data


def _with_gap(sound: Sound) -> Sound:
    middle = len(sound) // 2
    silence = np.zeros((round(GAP_SECONDS * SAMPLE_RATE), 2), dtype=np.float32)
    return np.concatenate([sound[:middle], silence, sound[middle:]])


def encode(sound: Sound, rate: int) -> bytes:
    """Return `(frames, channels)` as a variable-rate MP3 that decodes to as many frames."""
    stream = io.BytesIO()
    soundfile.write(
        stream, sound, rate, format="MP3", compression_level=VBR_LEVEL, bitrate_mode="VARIABLE"
    )
    return stream.getvalue()


def write_fma(
    archive: zipfile.ZipFile, folder: str, tracks: Iterable[Track], files: Iterator[bytes]
) -> Iterator[Track]:
    """Write the archive as files come in, yielding each track once written."""
    add_member(archive, f"{folder}/README.txt", README, zipfile.ZIP_BZIP2)
    sums: list[str] = []
    for track, data in zip(tracks, files, strict=True):
        sums.append(f"{hashlib.sha1(data).hexdigest()}  {track.path}\n")
        add_member(archive, f"{folder}/{track.path}", data, zipfile.ZIP_BZIP2)
        yield track
    add_member(archive, f"{folder}/checksums", "".join(sums).encode(), zipfile.ZIP_BZIP2)
    # The checksums are known last but listed second, as in the real archives: members are
    # found through the directory, which need not follow the order of their bytes.
    archive.filelist.insert(1, archive.filelist.pop())


def tracks_table(tracks: Iterable[Track], subset: str) -> str:
    """Return `tracks.csv`: three header rows, then one row per track."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", "artist", "set", "set", "track", "track", "track", "track"])
    writer.writerow(["", "name", "split", "subset", "duration", "genre_top", "license", "title"])
    writer.writerow(["track_id", *[""] * 7])
    for track in tracks:
        credit = track.credit
        title = credit.title + (f" ({track.accident})" if track.accident else "")
        described = [round(track.seconds), track.genre, credit.licence, title]
        writer.writerow([track.number, credit.artist, credit.split, subset, *described])
    return text.getvalue()
