"""Small archives of synthesised sound in the true formats: fast, deterministic, with accidents."""

import hashlib
import io
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

Sound = npt.NDArray[np.float32]
RATE = 44_100
DAY = (2017, 4, 1, 0, 0, 0)

FMA_CLIPS = {"000002": 3, "000003": 1, "000004": 2, "000011": 2}
FMA_FILTERED = {"rate_below_44100": 1, "too_short": 1}
FMA_QUARANTINED = {"empty": 1, "not_audio": 1, "truncated": 1}
FMA_TRACKS = 9
"""What the default rules make of `write_fma`'s archive: 9 = 4 + 2 + 3 tracks, 8 clips."""

TRAIN_SONG = "Ada - First Song"
VALIDATION_SONG = "Leaf - Summerghost"
"""A title of MUSDB's own validation list."""
TEST_SONG = "Bo & Co. - It's a Test"


class Archives(NamedTuple):
    """An FMA archive and its metadata."""

    archive: Path
    metadata: Path


def tune(seconds: float, pitch: float = 220.0, rate: int = RATE, channels: int = 2) -> Sound:
    """Return [channels, frames]: a sine with a slow tremolo in a little noise, peak about 0.4."""
    rng = np.random.default_rng(round(pitch))
    time = np.arange(round(seconds * rate)) / rate
    sine = np.sin(2 * np.pi * pitch * time) * (0.25 + 0.1 * np.sin(2 * np.pi * 2.5 * time))
    noise = rng.normal(0, 0.01, (channels, len(time)))
    return (sine + noise).astype(np.float32)


def write_audio(path: Path, sound: Sound, rate: int, subtype: str = "FLOAT") -> None:
    """Write [channels, frames] in the format of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound.T, rate, subtype=subtype)


def decoded(data: bytes) -> Sound:
    """Return the bytes of an audio file as [channels, frames]."""
    sound: Sound = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0].T
    return sound


def as_file(sound: Sound, rate: int = RATE, kind: str = "MP3") -> bytes:
    """Encode [channels, frames]."""
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.T, rate, format=kind)
    return buffer.getvalue()


@cache
def good_mp3() -> bytes:
    """Return 22 s of stereo at 44.1 kHz: three clips."""
    return as_file(tune(22.0))


def holed(mp3: bytes, length: int = 3000) -> bytes:
    """Return an MP3 with random bytes written over its middle."""
    middle = len(mp3) // 2
    return mp3[:middle] + np.random.default_rng(0).bytes(length) + mp3[middle + length :]


def untagged(mp3: bytes) -> bytes:
    """Return an MP3 that does not state its length."""
    return mp3.replace(b"Xing", b"\0\0\0\0", 1).replace(b"Info", b"\0\0\0\0", 1)


@cache
def fma_songs() -> dict[str, bytes]:
    """Return an FMA archive's songs by id: four good ones and the usual accidents."""
    gap = tune(26.0, 330.0)
    gap[:, 8 * RATE : 18 * RATE] = 0
    return {
        "000002": good_mp3(),
        "000003": as_file(tune(12.0, 440.0, 48_000), 48_000),
        "000004": as_file(tune(16.0, 550.0, channels=1)),
        "000005": as_file(tune(12.0, 660.0, 22_050), 22_050),
        "000010": as_file(tune(6.0)),
        "000011": as_file(gap),
        "099134": b"",
        "108925": np.random.default_rng(1).bytes(5000),
        "133297": good_mp3()[: len(good_mp3()) // 3],
    }


def write_fma(
    folder: Path, songs: dict[str, bytes] | None = None, name: str = "fma_tiny"
) -> Archives:
    """Write `<name>.zip` and `<name>_metadata.zip` in the FMA's layout and compression.

    The last song but three has no metadata row.
    """
    songs = fma_songs() if songs is None else songs
    folder.mkdir(parents=True, exist_ok=True)
    paths = {song: f"{song[:3]}/{song}.mp3" for song in sorted(songs)}
    sums = "".join(
        f"{hashlib.sha1(songs[song]).hexdigest()}  {path}\n" for song, path in paths.items()
    )
    members = {f"{name}/README.txt": b"synthesised\n", f"{name}/checksums": sums.encode()}
    members |= {f"{name}/{path}": songs[song] for song, path in paths.items()}
    archives = Archives(folder / f"{name}.zip", folder / f"{name}_metadata.zip")
    write_zip(archives.archive, members, zipfile.ZIP_BZIP2)
    described = [song for song in paths if song != "000011"]
    write_zip(archives.metadata, {"fma_metadata/tracks.csv": tracks_csv(described)})
    return archives


def tracks_csv(songs: Sequence[str]) -> bytes:
    """Return a tracks.csv with its three header rows."""
    lines = [
        ",artist,set,set,track,track,track",
        ",name,split,subset,genre_top,license,title",
        "track_id,,,,,,",
    ]
    for song in songs:
        split = "validation" if song == "000004" else "training"
        lines.append(f'{int(song)},"Ünal, {song}",{split},small,Folk,CC BY,"Song ""{song}"""')
    return ("\n".join(lines) + "\n").encode()


def musdb_song(title: str, seconds: float) -> dict[str, Sound]:
    """Return stems and mixture as [2, frames]; the vocals rest in the song's second half."""
    pitch = 100.0 + len(title)
    stems = {
        "bass": 0.5 * tune(seconds, pitch),
        "drums": 0.5 * tune(seconds, 3 * pitch),
        "other": 0.5 * tune(seconds, 4 * pitch),
        "vocals": 0.5 * tune(seconds, 5 * pitch),
    }
    stems["vocals"][:, stems["vocals"].shape[1] // 2 :] = 0
    total = stems["bass"] + stems["drums"] + stems["other"] + stems["vocals"]
    return {**stems, "mixture": total}


def musdb_members(seconds: float = 4.0) -> dict[str, bytes]:
    """Return the members of a MUSDB18-HQ archive: two train songs, one of them for validation."""
    places = {
        f"train/{TRAIN_SONG}": seconds,
        f"train/{VALIDATION_SONG}": seconds * 0.75,
        f"test/{TEST_SONG}": seconds * 1.25,
    }
    return {
        f"{place}/{part}.wav": as_file(sound, kind="WAV")
        for place, length in places.items()
        for part, sound in musdb_song(place, length).items()
    }


def write_musdb(folder: Path, seconds: float = 4.0) -> Path:
    """Write `musdb_tiny.zip` in the published layout and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    return write_zip(folder / "musdb_tiny.zip", musdb_members(seconds))


def write_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a zip whose bytes depend on its members alone."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name, DAY)
            info.compress_type = compression
            info.external_attr = 0o444 << 16
            archive.writestr(info, data)
    return path
