"""A home's numbers as Prometheus reads them: from marks, ledgers' sums and jobs' logs alone.

`stemworks metrics` prints them. A run keeps them in the file that STEMWORKS_METRICS names, which
node_exporter's textfile collector reads (its name must end in `.prom`).
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from flows.ui.progress import Standing
from flows.ui.run_card import JOBS
from storage.config import Json
from storage.errors import StemworksError
from storage.files import write_bytes
from storage.home.layout import Home
from storage.home.marks import Mark

FILE = "STEMWORKS_METRICS"
TAIL_BYTES = 1 << 16
"""Of a job's log, within which its last row lies."""

Labels = Mapping[str, str]
States = Mapping[tuple[str, str], str]
"""How stages stand, by study and stage."""


class Family(NamedTuple):
    """One metric and its samples."""

    name: str
    kind: str
    help: str
    samples: list[tuple[Labels, float]]


class Numbers:
    """The numbers of one home. Marks that were read once are not read again."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._marks: dict[str, tuple[str, Mark]] = {}
        self._failed: Counter[str] = Counter()

    def exposition(self, states: States) -> str:
        """Return everything in Prometheus' text format."""
        self._look()
        marks = [mark for _, mark in self._marks.values()]
        lines = []
        for family in [*self._work(marks), *_tracks(marks), *self._training(), _states(states)]:
            lines.append(f"# HELP {family.name} {family.help}")
            lines.append(f"# TYPE {family.name} {family.kind}")
            lines += [_sample(family.name, labels, value) for labels, value in family.samples]
        return "\n".join(lines) + "\n"

    def _look(self) -> None:
        seen = self._home.store.listing("marks")
        self._failed = Counter(name.split("/")[1] for name in seen if name.endswith(".failed"))
        known = {name: kept for name, kept in self._marks.items() if name in seen}
        for name, one in seen.items():
            if name.endswith(".json") and known.get(name, ("", None))[0] != one.version:
                with suppress(ValidationError, StemworksError):
                    mark = Mark.model_validate_json(self._home.store.read(name))
                    known[name] = (one.version, mark)
        self._marks = known

    def _work(self, marks: list[Mark]) -> Iterator[Family]:
        done, seconds, gpu = Counter[str](), dict[str, float](), dict[str, float]()
        for mark in marks:
            done[mark.stage] += 1
            seconds[mark.stage] = seconds.get(mark.stage, 0.0) + mark.seconds
            if mark.stage in JOBS:
                spent = mark.seconds * mark.facts.get("processes", 1)
                gpu[mark.stage] = gpu.get(mark.stage, 0.0) + spent
        yield _by("stage", "stemworks_work_done", "Finished work; of pack: units.", done)
        yield _by("stage", "stemworks_work_failed", "Work whose last attempt failed.", self._failed)
        yield _by("stage", "stemworks_work_seconds", "Seconds that finished work took.", seconds)
        yield _by(
            "stage",
            "stemworks_gpu_seconds",
            "Seconds of finished GPU jobs times their processes, all attempts counted.",
            gpu,
        )

    def _training(self) -> Iterator[Family]:
        rows = dict(_last_rows(self._home))
        for name, field, told in (
            ("step", "step", "Steps done."),
            ("steps", "steps", "Steps to do."),
            ("loss_db", "loss", "Loss of the last logged steps."),
            ("examples_per_second", "examples_per_second", "Examples trained on per second."),
            ("data_wait_ratio", "data_wait", "Share of the time spent waiting for data."),
            ("gradient_norm", "grad_norm", "Before clipping; -1 for a step that was skipped."),
            ("skipped_steps", "skipped", "Steps without an update."),
            ("gpu_memory_gigabytes", "gpu_memory_gb", "The most that tensors held."),
        ):
            samples: list[tuple[Labels, float]] = [
                ({"run": run}, float(row[field])) for run, row in rows.items() if field in row
            ]
            yield Family(f"stemworks_training_{name}", "gauge", told, samples)


def keep(home: Home, study: str, standings: Mapping[str, Standing]) -> None:
    """Write a run's numbers to the file that STEMWORKS_METRICS names, if it names one."""
    file = os.environ.get(FILE, "")
    if not file:
        return
    numbers = _known.setdefault(home.url, Numbers(home))
    states = {(study, label): one.state for label, one in standings.items()}
    write(Path(file), numbers.exposition(states))


def write(file: Path, text: str) -> None:
    """Put numbers where a collector reads them: it never sees half of them."""
    write_bytes(file, text.encode())
    # The collector may be another user.
    file.chmod(0o644)


_known: dict[str, Numbers] = {}


def _tracks(marks: Iterable[Mark]) -> Iterator[Family]:
    tracks, sums = Counter[tuple[str, str]](), dict[str, float]()
    for mark in marks:
        if mark.stage != "pack":
            continue
        if kept := mark.facts.get("kept", 0):
            tracks["kept", ""] += kept
        for outcome in ("filtered", "quarantined"):
            for reason, count in mark.facts.get(outcome, {}).items():
                tracks[outcome, reason] += count
        for name in ("clips", "hours", "bytes_in"):
            sums[name] = sums.get(name, 0.0) + mark.facts.get(name, 0)
    yield Family(
        "stemworks_tracks",
        "gauge",
        "Tracks of packed units, by what became of them and why.",
        [
            ({"outcome": outcome, "reason": reason}, float(count))
            for (outcome, reason), count in sorted(tracks.items())
        ],
    )
    for name, field, told in (
        ("clips", "clips", "Clips packed."),
        ("music_hours", "hours", "Hours of music kept."),
        ("packed_bytes", "bytes_in", "Bytes of archives packed."),
    ):
        yield Family(f"stemworks_{name}", "gauge", told, [({}, sums.get(field, 0.0))])


def _states(states: States) -> Family:
    samples: list[tuple[Labels, float]] = [
        ({"study": study, "stage": stage, "state": state}, 1.0)
        for (study, stage), state in states.items()
    ]
    return Family("stemworks_stage_state", "gauge", "1 for the state that a stage is in.", samples)


def _by(label: str, name: str, told: str, counts: Mapping[str, float]) -> Family:
    samples: list[tuple[Labels, float]] = [
        ({label: which}, float(value)) for which, value in sorted(counts.items())
    ]
    return Family(name, "gauge", told, samples)


def _last_rows(home: Home) -> Iterator[tuple[str, Json]]:
    """Yield the last training row of each job whose log is on this machine."""
    for metrics in sorted(home.runs.glob("train-*/metrics.jsonl")):
        with metrics.open("rb") as stream:
            stream.seek(max(0, metrics.stat().st_size - TAIL_BYTES))
            lines = stream.read().decode(errors="replace").splitlines()
        for line in reversed(lines):
            with suppress(json.JSONDecodeError):
                row: Any = json.loads(line)
                if isinstance(row, dict) and row.get("kind") == "train":
                    yield metrics.parent.name, row
                    break


def _sample(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
