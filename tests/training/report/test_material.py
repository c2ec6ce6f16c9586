"""Files of a report are read with tolerance for what a killed run leaves."""

import json
from pathlib import Path

from training.report.material import read_losses


def metrics(path: Path) -> Path:
    """Write a run's log with everything that may be wrong with one."""
    rows: list[object] = [{"kind": "system", "gpu": 1}, {"kind": "train"}, 3]
    rows += [
        {"kind": "train", "step": step, "loss": -step / 10, "examples_per_second": 8.0}
        for step in range(30)
    ]
    rows.append({"kind": "train", "step": 30, "loss": None})
    rows.append({"kind": "validation", "step": 20, "loss": -1.5})
    rows.append({"kind": "train", "step": 29, "loss": -4.0})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"kind": "tra')
    return path


def test_logs_are_read_with_tolerance(tmp_path: Path) -> None:
    read = read_losses(metrics(tmp_path / "metrics.jsonl"))
    assert len(read.train) == 30
    assert read.train[-1] == (29, -4.0)  # the later line of a repeated step
    assert read.validation == [(20, -1.5)]
    assert read.speed == 8.0
