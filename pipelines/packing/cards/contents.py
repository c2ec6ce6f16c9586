"""What a corpus holds: its kept tracks by licence, genre and split, and each one's attribution."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from storage.records import Attribution, LedgerRow, Track

NONE_STATED = "none stated"


@dataclass
class Share:
    """A part of a corpus."""

    tracks: int = 0
    clips: int = 0
    seconds: float = 0.0
    """Of music kept, each second counted once."""

    def add(self, row: LedgerRow) -> None:
        """Add a kept track."""
        self.tracks += 1
        self.clips += row.clips
        self.seconds += row.kept_seconds


Shares = dict[str, Share]


@dataclass
class Contents:
    """The kept tracks of the units seen so far."""

    archive: str
    """Name of the archive or folder."""
    attributions: list[Attribution] = field(default_factory=list)
    licences: Shares = field(default_factory=dict)
    genres: Shares = field(default_factory=dict)
    splits: Shares = field(default_factory=dict)

    def add(self, tracks: Sequence[Track], rows: Sequence[LedgerRow]) -> None:
        """Add a unit: its tracks as they were planned, and what became of each."""
        for track, row in zip(tracks, rows, strict=True):
            if row.outcome != "kept":
                continue
            self.attributions.append(self._attribution(track))
            for shares, name in (
                (self.licences, track.licence or NONE_STATED),
                (self.genres, track.genre or NONE_STATED),
                (self.splits, track.split),
            ):
                shares.setdefault(name, Share()).add(row)

    def _attribution(self, track: Track) -> Attribution:
        return Attribution(
            artist=track.artist,
            title=track.title,
            licence=track.licence,
            track=track.id,
            split=track.split,
            source=f"{self.archive}: {track.member}",
        )
