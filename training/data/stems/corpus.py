"""Songs with stems, as a corpus at rest lists them: their splits, and windows of their sound."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storage.audio.waveforms import Waveform, read_window
from storage.errors import ConfigError, DataError
from storage.manifests import read_rows
from storage.records import STEMS, StemSong


@dataclass(frozen=True)
class StemCorpus:
    """Songs of a stems corpus and where their files lie."""

    home: Path
    """Root that the songs' folders are relative to."""
    songs: tuple[StemSong, ...]
    stems: tuple[str, ...] = STEMS

    @classmethod
    def open(
        cls, songs: Path, home: Path, sample_rate: int, stems: tuple[str, ...] = STEMS
    ) -> "StemCorpus":
        """Read `songs.jsonl`.

        Args:
            songs: the table.
            home: what its paths are relative to.
            sample_rate: the model's, in Hz.
            stems: those that are wanted, in their order.

        Raises:
            ManifestError: the table is missing or malformed.
            ConfigError: a song is not at `sample_rate` Hz, or lacks a stem.
        """
        rows = tuple(read_rows(songs, StemSong))
        for song in rows:
            if song.sample_rate != sample_rate:
                raise ConfigError(
                    f"the model works at {sample_rate} Hz, but '{song.name}' in {songs} is at "
                    f"{song.sample_rate} Hz; prepare the songs at the model's rate"
                )
            _require_stems(home / song.folder, song.name, stems)
        return cls(home, rows, stems)

    def of(self, split: str) -> tuple[StemSong, ...]:
        """Return the songs of a split, in the table's order.

        Raises:
            DataError: there are none.
        """
        songs = tuple(song for song in self.songs if song.split == split)
        if not songs:
            raise DataError(
                f"none of the {len(self.songs)} songs is in the '{split}' split; add some"
            )
        return songs

    def read(self, song: StemSong, stem: str, start: int = 0, frames: int = -1) -> Waveform:
        """Return [channels, frames] of a stem, or of the song itself as `mixture`."""
        return read_window(self.home / song.folder / f"{stem}.wav", start, frames)

    def read_stems(self, song: StemSong, start: int = 0, frames: int = -1) -> Waveform:
        """Return [S, channels, frames] of all stems."""
        return np.stack([self.read(song, stem, start, frames) for stem in self.stems])


def _require_stems(folder: Path, song: str, stems: tuple[str, ...]) -> None:
    lacking = [stem for stem in stems if not (folder / f"{stem}.wav").is_file()]
    if lacking:
        found = sorted(path.stem for path in folder.glob("*.wav") if path.stem != "mixture")
        raise ConfigError(
            f"song '{song}' has no stem '{lacking[0]}', but {', '.join(found) or 'none'} in "
            f"{folder}; name stems that the songs have, or prepare the songs again"
        )
