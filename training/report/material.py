"""What a report is made from, and how its files are read: whatever is not there yet is left out."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from storage.config import Json
from storage.errors import ManifestError
from storage.files import read_json
from storage.manifests import read_rows
from storage.records import ChannelMap, Record, SongScore
from training.report.music import Music
from training.report.stems import Stem, shown, stem_order


class Row(Record):
    """One model that was scored."""

    name: str
    """As the score table shows it, such as `MixIT pre-training, then fine-tuning`."""
    scores: Path
    """Its scores.jsonl."""
    excerpts: Path | None = None
    """Folder with excerpts.json and one folder of FLAC files per song."""


class Curve(Record):
    """One training run's loss over its steps."""

    name: str
    metrics: Path
    """Its metrics.jsonl."""


class Lineage(Record):
    """One stage that the study is based on, from its completion mark."""

    stage: str
    key: str
    digest: str
    """Of the stage's outputs."""
    seconds: float
    facts: Json
    inputs: dict[str, str]
    """Digest of each input's outputs."""


class Material(Record):
    """Everything that one report shows."""

    title: str
    study: Json
    """The full configuration."""
    rows: tuple[Row, ...] = ()
    """The study's own model first, then what it is compared with."""
    curves: tuple[Curve, ...] = ()
    census: Path | None = None
    channels: Path | None = None
    lineage: tuple[Lineage, ...] = ()
    music: tuple[Music, ...] = ()
    """What the study's own model was trained on."""
    without: tuple[Literal["channels", "archive"], ...] = ()
    """Sections that this study has nothing for: left out instead of shown as missing."""
    stems: tuple[str, ...] = ()
    """Of the study; empty: those of the scores (see `stems.stem_order`)."""


class Scored(NamedTuple):
    """A row with its scores read."""

    key: str
    """A, B, ...: its name in small pictures."""
    row: Row
    scores: list[SongScore]


class Results(NamedTuple):
    """Every model's scores, over the same stems."""

    models: tuple[Scored, ...]
    stems: tuple[Stem, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The stems' names, in order."""
        return tuple(stem.name for stem in self.stems)


class Losses(NamedTuple):
    """One run's logged losses, in the order of their steps."""

    train: list[tuple[int, float]]
    validation: list[tuple[int, float]]
    speed: float | None
    """Median examples per second, where it was logged."""


def read_results(rows: tuple[Row, ...], stems: Sequence[str] = ()) -> Results:
    """Read each row's scores; a row that is not scored yet has none."""
    models = tuple(
        Scored(
            key=chr(ord("A") + number),
            row=row,
            scores=read_rows(row.scores, SongScore) if row.scores.is_file() else [],
        )
        for number, row in enumerate(rows)
    )
    order = stem_order((score for one in models for score in one.scores), stems)
    return Results(models, shown(order))


def read_losses(metrics: Path) -> Losses:
    """Read what a run logged; skip unknown kinds, broken lines and losses that are no number."""
    found: dict[str, dict[int, float]] = {"train": {}, "validation": {}}
    speeds = []
    for row in _logged(metrics):
        # A resumed run repeats the steps after its last checkpoint: the weights come from the later
        # line.
        kind, step, loss = row.get("kind"), row.get("step"), _number(row.get("loss"))
        if kind in found and isinstance(step, int) and loss is not None:
            found[kind][step] = loss
        speed = _number(row.get("examples_per_second"))
        if kind == "train" and speed is not None:
            speeds.append(speed)
    return Losses(
        train=sorted(found["train"].items()),
        validation=sorted(found["validation"].items()),
        speed=statistics.median(speeds) if speeds else None,
    )


def read_census(path: Path | None) -> Mapping[str, Any] | None:
    """Read the census of the archive, if there is one yet."""
    if path is None or not path.is_file():
        return None
    value = read_json(path)
    if not isinstance(value, Mapping):
        raise ManifestError(f"{path} is not a census (no JSON object); run the packing again")
    return value


def read_channels(path: Path | None) -> ChannelMap | None:
    """Read the channel map, if there is one yet."""
    if path is None or not path.is_file():
        return None
    try:
        return ChannelMap.model_validate(read_json(path))
    except ValidationError as error:
        raise ManifestError(
            f"{path} is not a channel map ({error.errors()[0]['msg']}); select the channels again"
        ) from error


def _logged(metrics: Path) -> list[dict[str, Any]]:
    if not metrics.is_file():
        return []
    rows = []
    for line in metrics.read_text(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue  # the last line of a run that was cut off
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _number(value: Any) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None
