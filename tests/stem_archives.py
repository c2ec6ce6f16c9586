"""MoisesDB and folders of stems, synthesised in the true layouts, with accidents on demand."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import soundfile

from tests.synthesised import RATE, Sound, as_file, musdb_song, tune

Recordings = Mapping[str, Sequence[bytes]]
"""WAVs by stem."""


def song_id(number: int) -> str:
    """Return a song's id, as MoisesDB's are."""
    return str(uuid5(NAMESPACE_OID, f"song {number}"))


def float_wave(sound: Sound, rate: int = RATE, subtype: str = "FLOAT") -> bytes:
    """Encode [channels, frames] as a WAV."""
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.T, rate, subtype=subtype, format="WAV")
    return buffer.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file under a folder by its name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def moises_song(
    song: str, recordings: Recordings, artist: str = "Ada", title: str = "First"
) -> dict[str, bytes]:
    """Return the members of one song: its `data.json` and its recordings."""
    members, stems = {}, []
    for stem, waves in recordings.items():
        tracks: list[dict[str, Any]] = []
        for number, wave in enumerate(waves):
            track = f"{uuid5(NAMESPACE_OID, f'{song} {stem} {number}')}"
            members[f"{song}/{stem}/{track}.wav"] = wave
            kind = {"trackType": "hi-hat", "has_bleed": False}
            tracks.append({"id": track, "extension": "wav", **kind})
        stems.append({"stemName": stem, "id": f"stem of {song}", "tracks": tracks})
    text = {"song": title, "artist": artist, "genre": "folk", "stems": stems}
    return {f"{song}/data.json": json.dumps(text, ensure_ascii=False).encode(), **members}


def four_stems(seconds: float = 1.0, pitch: float = 110.0) -> dict[str, list[bytes]]:
    """Return recordings of a song that has each of the four stems once."""
    return {
        stem: [as_file(tune(seconds, pitch * step), kind="WAV")]
        for step, stem in enumerate(("vocals", "bass", "drums", "guitar"), 1)
    }


def moisesdb(songs: int = 4, seconds: float = 1.0) -> dict[str, bytes]:
    """Return the members of a corpus of songs by as many artists, under its version's folder."""
    members: dict[str, bytes] = {}
    for number in range(songs):
        recordings = four_stems(seconds + number / 10, 110.0 + number)
        members |= moises_song(song_id(number), recordings, f"Artist {number}", "Søng")
    return {f"moisesdb_v0.1/{name}": data for name, data in members.items()}


def stem_folder(titles: Sequence[str], seconds: float = 1.0) -> dict[str, bytes]:
    """Return the files of songs in MUSDB's layout, `titles` as in `train/Ada - First`."""
    return {
        f"{title}/{part}.wav": as_file(sound, kind="WAV")
        for title in titles
        for part, sound in musdb_song(title, seconds).items()
    }


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files under a folder, and return it."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
