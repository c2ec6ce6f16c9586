"""The excerpts' part of the page: mixture, then each stem's reference above its estimates."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from training.report.figures.sounds import (
    FLOOR_DB,
    REFERENCE,
    Player,
    Tick,
    colour_scale,
    frequency_ticks,
    players,
    read_excerpts,
)
from training.report.material import Results
from training.report.stems import Stem
from training.report.templating import missing, render


class Song(NamedTuple):
    """One song's players as they are shown."""

    name: str
    mixture: Player | None
    stems: list[tuple[Stem, list[tuple[str, Player]]]]
    """Each stem's players by their labels."""
    ticks: Sequence[Tick]
    seconds: float
    mono: bool


def listening(results: Results) -> Markup:
    """Return spectrograms and players of the first songs; the first song is unfolded."""
    excerpts = read_excerpts(results)
    if not excerpts:
        return missing("No excerpts were kept.")
    labels = {REFERENCE: "Reference"}
    labels |= {each.key: f"{each.key} · {each.row.name}" for each in results.models[:2]}
    songs = []
    for excerpt, found in zip(excerpts, players(excerpts), strict=True):
        kept = next(iter(found.values()))
        songs.append(
            Song(
                name=excerpt.song,
                mixture=found.get(("mixture", REFERENCE)),
                stems=[(stem, _players_of(stem, found, labels)) for stem in results.stems],
                ticks=frequency_ticks(excerpt.sample_rate),
                seconds=kept.seconds,
                mono=kept.mono,
            )
        )
    return render("listening.html", songs=songs, scale=colour_scale(), floor_db=FLOOR_DB)


def _players_of(
    stem: Stem, found: Mapping[tuple[str, str], Player], labels: Mapping[str, str]
) -> list[tuple[str, Player]]:
    return [
        (label, found[stem.name, source])
        for source, label in labels.items()
        if (stem.name, source) in found
    ]
