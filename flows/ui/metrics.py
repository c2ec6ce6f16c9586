"""A home's numbers as Prometheus reads them: from marks, ledgers' sums and jobs' logs alone.

`stemworks metrics` prints them. A run keeps them in the file that STEMWORKS_METRICS names, which
node_exporter's textfile collector reads (its name must end in `.prom`).

The text is prometheus_client's. The file is written by `storage.files`: the library's own
`write_to_textfile` replaces it at once too, but does not sync it to the disk.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from pydantic import ValidationError

from flows.ui.progress import StageProgress
from flows.ui.run_card import JOBS
from storage.config import Json
from storage.environment import METRICS
from storage.errors import StemworksError
from storage.files import write_bytes
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.tally import Tally

TAIL_BYTES = 1 << 16
"""At the end of a job's log; its last row is within them."""

States = Mapping[tuple[str, str], str]
"""Each stage's state, by study and stage."""
Samples = Mapping[tuple[str, ...], float]
"""Numbers of one metric by the values of its labels."""

WORK = {
    "stemworks_work_done": "Finished work; of pack: units.",
    "stemworks_work_failed": "Work whose last attempt failed.",
    "stemworks_work_seconds": "Seconds that finished work took.",
    "stemworks_gpu_seconds": (
        "Seconds of finished GPU jobs times their processes, all attempts counted."
    ),
}
"""Help of the metrics by stage."""

PACKING = {
    "stemworks_clips": ("clips", "Clips packed."),
    "stemworks_music_hours": ("hours", "Hours of music kept."),
    "stemworks_packed_bytes": ("bytes_in", "Bytes of archives packed."),
}
"""Sums over packed units: the fact of a mark that is summed, and the metric's help."""

TRAINING = {
    "stemworks_training_step": ("step", "Steps done."),
    "stemworks_training_steps": ("steps", "Steps to do."),
    "stemworks_training_loss_db": ("loss", "Loss of the last logged steps."),
    "stemworks_training_examples_per_second": (
        "examples_per_second",
        "Examples trained on per second.",
    ),
    "stemworks_training_data_wait_ratio": (
        "data_wait",
        "Share of the time spent waiting for data.",
    ),
    "stemworks_training_gradient_norm": (
        "grad_norm",
        "Before clipping; -1 for a step that was skipped.",
    ),
    "stemworks_training_skipped_steps": ("skipped", "Steps without an update."),
    "stemworks_training_gpu_memory_gigabytes": ("gpu_memory_gb", "The most that tensors held."),
}
"""The column of a job's log that each metric shows, and the metric's help."""


class Numbers:
    """The numbers of one home. Marks that were read once are not read again."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._marks: dict[str, tuple[str, Mark]] = {}
        self._failed: Counter[str] = Counter()

    def exposition(self, states: States) -> str:
        """Return everything in Prometheus' text format."""
        self._look()
        # A registry of its own: the process's default one holds Prefect's and Python's metrics.
        registry = CollectorRegistry()
        registry.register(_Families(self._families(states)))
        return generate_latest(registry).decode()

    def _families(self, states: States) -> list[Metric]:
        marks = [mark for _, mark in self._marks.values()]
        return [*self._work(marks), *_tracks(marks), *_training(self._home), _states(states)]

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

    def _work(self, marks: Sequence[Mark]) -> Iterator[Metric]:
        done, seconds, gpu = Counter[str](), dict[str, float](), dict[str, float]()
        for mark in marks:
            done[mark.stage] += 1
            seconds[mark.stage] = seconds.get(mark.stage, 0.0) + mark.seconds
            if mark.stage in JOBS:
                spent = mark.seconds * mark.facts.get("processes", 1)
                gpu[mark.stage] = gpu.get(mark.stage, 0.0) + spent
        by_metric: dict[str, Mapping[str, float]] = {
            "stemworks_work_done": done,
            "stemworks_work_failed": self._failed,
            "stemworks_work_seconds": seconds,
            "stemworks_gpu_seconds": gpu,
        }
        for name, by_stage in by_metric.items():
            samples: Samples = {(stage,): float(value) for stage, value in by_stage.items()}
            yield _gauge(name, WORK[name], ["stage"], samples)


class _Families(Collector):
    """Families that are known already, as a registry wants them."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def keep(home: Home, study: str, stages: Mapping[str, StageProgress]) -> None:
    """Write a run's numbers to the file that STEMWORKS_METRICS names, if it names one."""
    file = METRICS.read()
    if not file:
        return
    numbers = _known.setdefault(home.url, Numbers(home))
    states = {(study, label): one.state for label, one in stages.items()}
    write(Path(file), numbers.exposition(states))


def write(file: Path, text: str) -> None:
    """Write a text where a collector reads it, whole at every moment and durably."""
    write_bytes(file, text.encode())
    # The collector may run as another user.
    file.chmod(0o644)


_known: dict[str, Numbers] = {}


def _tracks(marks: Iterable[Mark]) -> Iterator[Metric]:
    tracks, sums = Counter[tuple[str, ...]](), dict[str, float]()
    for mark in marks:
        if mark.stage != "pack":
            continue
        for row in Tally.from_facts(mark.facts).rows():
            if row.number:
                tracks[row.outcome, row.reason] += row.number
        for fact, _ in PACKING.values():
            sums[fact] = sums.get(fact, 0.0) + mark.facts.get(fact, 0)
    help_text = "Tracks of packed units, by what became of them and why."
    yield _gauge("stemworks_tracks", help_text, ["outcome", "reason"], tracks)
    for name, (fact, help_text) in PACKING.items():
        yield GaugeMetricFamily(name, help_text, value=sums.get(fact, 0.0))


def _training(home: Home) -> Iterator[Metric]:
    rows = dict(_last_rows(home))
    for name, (column, help_text) in TRAINING.items():
        samples: Samples = {
            (run,): float(row[column]) for run, row in rows.items() if column in row
        }
        yield _gauge(name, help_text, ["run"], samples)


def _states(states: States) -> Metric:
    samples: Samples = {(study, stage, state): 1.0 for (study, stage), state in states.items()}
    help_text = "1 for the state that a stage is in."
    return _gauge("stemworks_stage_state", help_text, ["study", "stage", "state"], samples)


def _gauge(name: str, help_text: str, labels: Sequence[str], samples: Samples) -> Metric:
    """Return a metric with one sample for each tuple of its labels' values, in their order."""
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, number in sorted(samples.items()):
        family.add_metric(values, number)
    return family


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
