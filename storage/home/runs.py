"""A run directory: the whole message between an orchestrator and a GPU job.

::

    job.json       what to do: verb, inputs, recipe
    log.txt        everything the job prints, for people
    events.jsonl   progress and messages, one a line; see job_events.py
    failure.json   why the job failed, where it did
    metrics.jsonl  one line per logged step
    attempts.json  seconds of each attempt at the job
    checkpoints/   step-00000100/ ...
    result/        what the job leaves: model/, channels.json, scores.jsonl, excerpts/
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from storage.config import Config, Json
from storage.errors import ManifestError, RunError
from storage.files import read_json, write_json
from storage.home.layout import Home
from storage.home.open import open_home

Verb = Literal["train", "select", "evaluate"]


class Job(Config):
    """What a GPU job is asked to do."""

    verb: Verb
    inputs: dict[str, str]
    """Absolute paths on this machine by name: `index`, `songs`, `activity`, `model`, `channels`.
    Also `home`, which the songs' folders are relative to, as `open_home` takes it; and `corpus`,
    the folder in it that holds the shards of `index`."""
    recipe: Json
    """The verb's own config as plain values."""

    def path(self, name: str) -> Path:
        """Return an input's path; raise `RunError` if the job names no such input."""
        return Path(self._input(name))

    def home(self) -> Home:
        """Return the home of the inputs; raise `RunError` if the job names none."""
        return open_home(self._input("home"))

    def _input(self, name: str) -> str:
        if name not in self.inputs:
            named = ", ".join(sorted(self.inputs)) or "none"
            raise RunError(
                f"the {self.verb} job names no input '{name}' but {named}; add it to job.json"
            )
        return self.inputs[name]


class Run:
    """One run directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self, job: Job) -> None:
        """Write the job; in an existing directory of the same work, the job resumes."""
        write_json(self.root / "job.json", job.model_dump(mode="json"))

    def job(self) -> Job:
        """Read the job.

        Raises:
            RunError: the directory holds no readable job.
        """
        try:
            return Job.model_validate(read_json(self.root / "job.json"))
        except (ManifestError, ValidationError) as error:
            raise RunError(f"{self.root} is no run directory: {error}") from error

    @property
    def log(self) -> Path:
        """Everything the job prints."""
        return self.root / "log.txt"

    @property
    def events(self) -> Path:
        """Progress and messages, appended as they come."""
        return self.root / "events.jsonl"

    @property
    def failure(self) -> Path:
        """Why the last attempt failed, in the job's own words."""
        return self.root / "failure.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per logged step."""
        return self.root / "metrics.jsonl"

    @property
    def attempts(self) -> Path:
        """Seconds of each attempt at the job, a list; the last one's grow while it runs."""
        return self.root / "attempts.json"

    @property
    def lock(self) -> Path:
        """Held while the job runs, so that no second one writes here."""
        return self.root / "run.lock"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints to resume from."""
        return self.root / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard events."""
        return self.root / "tensorboard"

    @property
    def result(self) -> Path:
        """Folder of what the job leaves."""
        return self.root / "result"

    @property
    def model(self) -> Path:
        """The trained model: `model.safetensors` and `model.json`."""
        return self.result / "model"

    @property
    def channels(self) -> Path:
        """The channel map."""
        return self.result / "channels.json"

    @property
    def scores(self) -> Path:
        """Scores per song and stem."""
        return self.result / "scores.jsonl"

    @property
    def excerpts(self) -> Path:
        """Folder of excerpts: <song number>/{mixture,<stem>,<stem>-reference}.flac."""
        return self.result / "excerpts"

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the logged steps; a last line cut off by a crash is left out."""
        if not self.metrics.exists():
            return []
        rows = []
        for line in self.metrics.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return rows

    def outputs(self) -> dict[str, Path]:
        """Return every file of the result by its name inside it."""
        files = (path for path in sorted(self.result.rglob("*")) if path.is_file())
        return {path.relative_to(self.result).as_posix(): path for path in files}
