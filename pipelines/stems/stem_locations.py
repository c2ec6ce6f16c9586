"""Where the songs of a folder of stems lie, and where what is made of them goes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.archives.folder_digest import require_folder
from pipelines.archives.litter import is_litter
from pipelines.stems.musdb import require_recorded
from pipelines.stems.splits import Split
from storage.errors import DataError
from storage.home.layout import Corpus
from storage.names.file_names import file_names

SPLITS: tuple[Split, ...] = ("test", "validation", "train")
"""Folders of songs. A title that lies in two of them is left out of the later one."""


class SongLocation(NamedTuple):
    """One song's folder."""

    split: Split
    """The folder it lies in."""
    path: Path

    @property
    def title(self) -> str:
        """Artist - Title."""
        return self.path.name

    def recording(self, name: str) -> Path:
        """Return the WAV of a recording."""
        return self.path / f"{name}.wav"


def require_songs(folder: Path, recordings: Mapping[str, tuple[str, ...]]) -> list[SongLocation]:
    """Return all songs; raise `DataError` if there is none, or none has a recording of a stem."""
    wanted = sorted(name for names in recordings.values() for name in names)
    locations = list(_locations(folder))
    if not locations:
        files = ", ".join(f"{name}.wav" for name in wanted)
        raise DataError(
            f"{folder} holds no song; put {files} into train/<song>/, and test songs, with their "
            "mixture.wav, into test/<song>/"
        )
    require_recorded(str(folder), wanted, _recorded(locations, wanted))
    return locations


def _locations(folder: Path) -> Iterator[SongLocation]:
    require_folder(folder)
    for split in SPLITS:
        parent = folder / split
        if parent.is_dir():
            for path in sorted(parent.iterdir()):
                if path.is_dir() and not path.name.startswith(".") and not _is_empty_litter(path):
                    yield SongLocation(split, path)


def _is_empty_litter(path: Path) -> bool:
    """Say whether a folder is a system's own, and not a song that is called like one."""
    return is_litter(path.name) and not any(path.glob("*.wav"))


def _recorded(locations: Sequence[SongLocation], wanted: Sequence[str]) -> set[str]:
    """Return the recordings that any song has; all that are wanted, as soon as they are found."""
    found: set[str] = set()
    for each in locations:
        found |= {path.stem for path in each.path.glob("*.wav")}
        if found.issuperset(wanted):
            break
    return found


def destinations(corpus: Corpus, locations: Sequence[SongLocation]) -> dict[SongLocation, Path]:
    """Return the folder of the home that each song's sums are written to."""
    folders = {
        split: file_names(each.title for each in locations if each.split == split)
        for split in SPLITS
    }
    return {each: corpus.root / each.split / folders[each.split][each.title] for each in locations}
