"""An objective, a filter, a measure and a metric are added as CONTRIBUTING says, each in a tree."""

from pathlib import Path

import pytest

from tests.copied_tree import Tree

OBJECTIVE = "training/objectives/l2"
OBJECTIVE_CONFIG = '''"""Settings of the L2 objective."""

from typing import Literal

from training.objectives.settings import StemObjectiveSettings


class L2Objective(StemObjectiveSettings):
    """Mean squared error of waveforms."""

    kind: Literal["l2"] = "l2"
'''
OBJECTIVE_CLASS = '''"""Mean squared error."""

from training.objectives.objective import Objective, Score


class L2(Objective):
    """Each output is compared with its stem."""

    def score(self, separation, references_BPCT):
        return Score((references_BPCT - separation.waveforms).square().mean(), {})
'''
OBJECTIVE_ENTRY = (
    ("from training.objectives.l2.config import L2Objective", "from training.objectives.mixit"),
    ('    L2Objective: "training.objectives.l2.objective:L2",', "}"),
)
OBJECTIVE_SHOWN = """
import torch
from training.data.batches import Batch
from training.models.separator import build as build_model
from training.objectives.objective import build
from training.recipes import finetune_smoke

config = finetune_smoke().override(["objective.kind=l2"])
model, objective = build_model(config.model), build(config.objective, config.model)
batch = Batch.of_sum(torch.randn(2, 4, 2, 4000))
outcome = objective(model, batch)
outcome.loss.backward()
expected = ((outcome.references - outcome.separation.waveforms) ** 2).mean()
assert torch.allclose(outcome.loss.detach(), expected) and outcome.loss > 0
assert all(p.grad is not None for p in model.parameters())
try:
    config.override(["model.outputs=3"])
except Exception as error:
    assert "objective.kind = 'l2' trains one output per stem" in str(error), error
else:
    raise AssertionError("outputs that do not fit are refused for it, too")
"""
FILTER = '''def untitled(track: Track, config: FmaConfig) -> Rejection | None:
    """Reject what has no title."""
    return None if track.title else Rejection("untitled", "no title")


'''
FILTER_SHOWN = """
from pipelines.config import FmaConfig
from pipelines.packing.filters import PLANNED, judge
from storage.records import Track

named = Track(id="000001", member="a.mp3", bytes=1, title="A")
assert judge(PLANNED, named, FmaConfig()) is None
assert judge(PLANNED, named.model_copy(update={"title": ""}), FmaConfig()).reason == "untitled"
"""
MEASURE = '''"""The highest peak."""

from pipelines.measures.measure import Figure, Kind, Second, Value


class Peak:
    """Magnitude of the largest sample."""

    def __init__(self, sample_rate: int) -> None:
        self._peak = 0.0

    def take(self, second: Second) -> Value:
        """Return the second's peak."""
        peak = float(second.sizes.max())
        self._peak = max(self._peak, peak)
        return peak

    def whole(self) -> dict[str, Value]:
        """Return the track's peak."""
        return {"peak": self._peak}


KIND = Kind("peak_by_second", (Figure("peak", "Peak", (0.5, 0.9)),), Peak)
'''
MEASURE_SHOWN = """
import numpy as np
from pipelines.measures.distributions import Distributions
from pipelines.measures.measurer import Measurer
from pipelines.measures.table import MEASURES
from storage.records import LedgerRow

measurer = Measurer(8000, MEASURES)
measurer.take(np.full((2, 12000), 0.25, np.float32) * [[1], [-2]])
measurer.close()
row = LedgerRow(track="1", outcome="kept", seconds=3600, **measurer.found())
assert (row.measures["peak"], row.by_second["peak_by_second"]) == (0.5, (0.5, 0.5))
sums = Distributions()
sums.add([row])
assert sums.found()["peak"].hours == (0.0, 1.0, 0.0)
"""
METRIC = '''def peak_error(reference_SCT: Tensor, estimate_SCT: Tensor) -> Tensor:
    """Return the largest error of each stem, in dB, [S]."""
    return 20 * (reference_SCT - estimate_SCT).abs().amax(dim=(-2, -1)).log10()


'''
METRIC_SHOWN = """
import torch
from storage.records import SongScore
from training.jobs.evaluate import score
from training.report.score_tables import score_table

references, estimates = torch.randn(2, 2, 1000), torch.randn(2, 2, 1000)
rows = list(score(references, estimates, references.sum(0), [0.0, 0.0]))
for row, reference, estimate in zip(rows, references, estimates):
    expected = 20 * torch.log10((reference - estimate).abs().max()).item()
    assert abs(row["peak_error"] - expected) < 1e-6
scores = [
    SongScore(song="song", stem=stem, museval=None, **row) for stem, row in zip("ab", rows)
]
assert "Peak error" in [line.metric for line in score_table([("model", scores)]).lines]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree.of(tmp_path)


def test_an_objective(tree: Tree) -> None:
    tree.add(f"{OBJECTIVE}/__init__.py", '"""Mean squared error."""\n')
    tree.add(f"{OBJECTIVE}/config.py", OBJECTIVE_CONFIG)
    tree.add(f"{OBJECTIVE}/objective.py", OBJECTIVE_CLASS)
    for line, before in OBJECTIVE_ENTRY:
        tree.insert("training/objectives/table.py", line, before)
    tree.run_text(OBJECTIVE_SHOWN)


def test_a_filter(tree: Tree) -> None:
    filters = "pipelines/packing/filters.py"
    tree.insert(filters, FILTER, "Filters = ")
    tree.replace(filters, "(licence, duplicate)", "(licence, duplicate, untitled)")
    tree.run_text(FILTER_SHOWN)


def test_a_measure(tree: Tree) -> None:
    table = "pipelines/measures/table.py"
    tree.add("pipelines/measures/peak.py", MEASURE)
    tree.replace(table, "correlation, loudness, zeros", "correlation, loudness, peak, zeros")
    tree.insert(table, "    peak.KIND,", ")")
    tree.run_text(MEASURE_SHOWN)


def test_a_metric(tree: Tree) -> None:
    tree.insert("training/scoring/metrics.py", METRIC, "def usdr_mdx21")
    tree.replace(
        "storage/records.py",
        "    si_sdr: float | None = None\n",
        "    si_sdr: float | None = None\n    peak_error: float | None = None\n",
    )
    tree.insert(
        "training/jobs/evaluate.py",
        '            "peak_error": metrics.peak_error(*pair).item(),',
        '            "si_sdr"',
    )
    tree.insert(
        "training/report/score_tables.py", '    "Peak error": "peak_error",', '    "uSDR (MDX21)"'
    )
    tree.run_text(METRIC_SHOWN)
