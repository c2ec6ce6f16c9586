"""`doctor --fit`: the largest micro-batch of a recipe on this machine, and the settings for it.

A child process measures it: only `training` imports torch, and a crash there is no crash here.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from flows.cli.output import View, table_of
from flows.jobs.launch import ALLOCATOR
from flows.studies.recipe_file import find_recipe
from storage.errors import ConfigError, MachineError
from storage.home.job_events import read_failure
from storage.home.runs import Run
from storage.processes import bound
from training.config import TrainConfig

SIZES = ("small", "medium", "large")
"""Short names of the paper's recipes."""


def fit(name: str, memory_gb: float, view: View) -> None:
    """Measure all training jobs of a recipe, and show the settings that make them fit.

    Args:
        name: a recipe, the path of a recipe file, or one of `SIZES`.
        memory_gb: where above 0, try on the CPU within this much, in GB.
        view: where to show it.

    Raises:
        ConfigError: there is no such recipe.
        MachineError: there is no GPU and no memory is given, or not even one example fits.
    """
    study = find_recipe(f"paper_{name}" if name in SIZES else name).config
    jobs = study.parts_of(TrainConfig)
    found = {job: measure(config, memory_gb) for job, config in jobs.items()}
    settings = [f"--set {job}.runtime.micro_batch={it['micro_batch']}" for job, it in found.items()]
    rows = [
        (
            job,
            f"{it['device']}, {it['memory_gb']:g} GB",
            str(it["examples"]),
            str(it["largest"]),
            f"{it['passes']} x {it['micro_batch']}",
        )
        for job, it in found.items()
    ]
    headers = ("job", "where", "examples per step", "fit at once", "passes")
    view.show(
        {"recipe": study.name, **found, "settings": settings},
        table_of(f"What fits of {study.name}", headers, rows),
        "\n".join(settings),
    )


def measure(config: TrainConfig, memory_gb: float = 0.0) -> dict[str, Any]:
    """Have a child process measure one training recipe; see `training.jobs.fit_memory.probe`.

    Raises:
        ConfigError, MachineError: as the child reports it.
    """
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "recipe.json"
        recipe.write_text(json.dumps(config.model_dump(mode="json")))
        command = [sys.executable, "-m", "training", "fit", str(recipe)]
        answer = subprocess.run(
            bound([*command, "--memory-gb", str(memory_gb)]),
            capture_output=True,
            text=True,
            check=False,
            env={**ALLOCATOR, **os.environ},
        )
        failure = read_failure(Run(recipe.parent))
    if answer.returncode:
        why = failure.message if failure else answer.stderr.strip()[-300:]
        if answer.returncode == ConfigError.exit_code:
            raise ConfigError(why)
        raise MachineError(why or f"measuring ended with exit code {answer.returncode}; try again")
    result: dict[str, Any] = json.loads(answer.stdout)
    return result
