"""Whose music a model was trained on: every track and song, followed from the model's mark."""

from collections.abc import Iterator
from typing import NamedTuple

from flows.stages.data import CENSUS, UNPACK
from flows.stages.given_model import CHECK_MODEL
from flows.stages.lineage import LineageGraph
from pipelines.licences import licence_of
from storage.config import Json
from storage.home.layout import ATTRIBUTION
from storage.home.marks import Mark
from storage.manifests import read_rows, read_table
from storage.records import Attribution, StemSong, TrainedOn

SYNTHESISED = "Synthesised by Stemworks"
"""Licence of songs with stems that were composed here."""


class Credits(NamedTuple):
    """The music that a model was trained on, as far as its home knows it."""

    rows: list[TrainedOn]
    unknown: list[str]
    """Archives whose tracks are not listed."""


def trained_on(lineage: LineageGraph, mark: Mark, study: Json) -> Credits:
    """Return the tracks that led to a model, those of the test split apart.

    Args:
        lineage: of the home.
        mark: the model's training.
        study: the settings that made it, as far as they are known: songs state no licence.
    """
    rows: list[TrainedOn] = []
    unknown: list[str] = []
    for cause in lineage.causes_first([mark]):
        if cause.stage == CENSUS.name:
            listed = _listed(lineage, cause, ATTRIBUTION)
            if listed is None:
                unknown.append(str(cause.config.get("archive", "the archive")))
                continue
            tracks = read_table(listed.path(lineage.home, ATTRIBUTION), Attribution)
            rows += [TrainedOn(**dict(one), use="pre-training") for one in tracks]
        elif cause.stage == UNPACK.name:
            rows += _songs(lineage, cause, study.get("musdb", {}))
        elif cause.stage == CHECK_MODEL.name and _has(cause, f"model/{ATTRIBUTION}"):
            rows += read_table(cause.path(lineage.home, f"model/{ATTRIBUTION}"), TrainedOn)
    used = [row for row in rows if row.split != "test"]
    return Credits(sorted(used, key=lambda row: row.use != "pre-training"), unknown)


def _listed(lineage: LineageGraph, cause: Mark, label: str) -> Mark | None:
    """Return the mark that has a list of a cause's tracks: of several, the first may lack it."""
    alike = (mark for mark in lineage.marks if mark.digest == cause.digest)
    return next((mark for mark in alike if mark.stage == cause.stage and _has(mark, label)), None)


def _has(mark: Mark, label: str) -> bool:
    return any(output.label == label for output in mark.outputs)


def _songs(lineage: LineageGraph, unpacked: Mark, musdb: Json) -> Iterator[TrainedOn]:
    """Yield the songs of a stems corpus."""
    parents = lineage.parents(unpacked)
    checked = parents.get("musdb")
    archive = checked.facts.get("archive") if checked else musdb.get("archive")
    source = str(unpacked.config.get("source", "musdb18hq"))
    licence = licence_of(source, str(musdb.get("licence", "")))
    if "corpora" in parents:
        licence = SYNTHESISED
    for song in read_rows(unpacked.path(lineage.home, "songs.jsonl"), StemSong):
        artist, _, title = song.name.partition(" - ")
        yield TrainedOn(
            artist=artist if title else "",
            title=title or artist,
            licence=licence,
            track=song.name,
            split=song.split,
            source=f"{archive or 'songs with stems'}: {song.name}",
            use="fine-tuning",
        )
