"""Builders of the training side: each prepares a run directory and launches a GPU job on it."""

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from flows.jobs.attempts import AttemptTiming
from flows.jobs.launch import launch
from flows.stage_id import Role
from flows.stages.stage import Built, Inputs, Site, Stage, Watch
from storage.config import Config, Json
from storage.errors import RunError
from storage.home import marks
from storage.home.job_events import JobEvent, ProgressEvent
from storage.home.layout import Home
from storage.home.mirror import Mirror
from storage.home.runs import Job, Run, Verb
from storage.manifests import read_rows
from storage.records import ChannelMap, SongScore
from training.config import EvaluateConfig, SelectConfig, TrainConfig


class JobInput(NamedTuple):
    """Which output of an input's mark a job reads."""

    output: str
    """The output's label."""
    folder: bool = False
    """The job is given the folder that the output lies in."""
    corpus: bool = False
    """The folder is a corpus of shards; the job is also given its path within the home."""


JOB_INPUTS: Mapping[str, JobInput] = {
    "index": JobInput("index.json", corpus=True),
    "songs": JobInput("songs.jsonl"),
    "activity": JobInput("activity.jsonl"),
    # A model is a folder: weights and the JSON that explains them.
    "model": JobInput("model/model.json", folder=True),
    "channels": JobInput("channels.json"),
}
"""By the input's name, which is part of a finished stage's key."""


def _train(site: Site, config: TrainConfig, inputs: Inputs) -> Built:
    run, earlier = _run(site, "train", config, inputs)
    logged = run.read_metrics()
    rows = [row for row in logged if row.get("kind") == "train"]
    validations = [row["loss"] for row in logged if row.get("kind") == "validation"]
    facts: Json = {"steps": config.loop.steps, "processes": processes_of(config) * hosts_of(config)}
    if rows:
        facts |= {"first_loss": rows[0]["loss"], "last_loss": rows[-1]["loss"]}
    if validations:
        facts |= {"best_validation_loss": min(validations)}
    return Built(run.outputs(), facts, earlier)


def _select(site: Site, config: SelectConfig, inputs: Inputs) -> Built:
    run, earlier = _run(site, "select", config, inputs)
    chosen = ChannelMap.model_validate_json(run.channels.read_text())
    facts = dict(zip(chosen.stems, chosen.channels, strict=True))
    return Built(run.outputs(), {"channels": facts, "chunks": chosen.chunks}, earlier)


def _evaluate(site: Site, config: EvaluateConfig, inputs: Inputs) -> Built:
    run, earlier = _run(site, "evaluate", config, inputs)
    scores = read_rows(run.scores, SongScore)
    values = [score.usdr for score in scores if score.usdr is not None]
    mean = round(statistics.fmean(values), 2) if values else None
    songs = len({score.song for score in scores})
    return Built(run.outputs(), {"usdr": mean, "songs": songs}, earlier)


def _run(site: Site, verb: Verb, config: Config, inputs: Inputs) -> tuple[Run, float]:
    """Launch one job and wait for it; its events are reported as they come.

    Returns:
        Its directory, and the seconds of earlier attempts that it resumed.
    """
    run = Run(site.home.run(verb, site.key))
    hosts, mirror = hosts_of(config), Mirror(site.home, run.root)
    with mirror.synchronised():
        run.prepare(Job(verb=verb, inputs=_paths(site.home, inputs), recipe=plain_recipe(config)))
        if hosts > 1 and site.home.remote:
            # The other hosts read it from there.
            mirror.push()
        site.watch.attach(run)
        with AttemptTiming(run) as attempt:
            launch(run, verb, processes_of(config), attempt.timing(reported(site.watch)), hosts)
    if not run.result.is_dir():
        raise RunError(f"{verb} job in {run.root} succeeded but left no result; see {run.log}")
    return run, attempt.earlier_seconds


def reported(watch: Watch) -> Callable[[JobEvent], None]:
    """Return what reports a job's events as its stage's progress and messages."""

    def report(event: JobEvent) -> None:
        if isinstance(event, ProgressEvent):
            watch(event.done, event.total, event.note or event.unit)
        else:
            watch.log(event.message, event.level)

    return report


def plain_recipe(config: Config) -> Json:
    """Return a job's config as plain JSON values."""
    return config.model_dump(mode="json")


def processes_of(config: Config) -> int:
    """Return how many processes a job runs in on each host."""
    return config.runtime.processes if isinstance(config, TrainConfig) else 1


def hosts_of(config: Config) -> int:
    """Return how many hosts a job runs on."""
    return config.runtime.hosts if isinstance(config, TrainConfig) else 1


def _paths(home: Home, inputs: Inputs) -> dict[str, str]:
    """Fetch what the job reads, except the clips, to this machine; return where each is."""
    marks.fetch(home, inputs.values(), lambda output: True)
    paths = {"home": home.url}
    for name, mark in inputs.items():
        read = JOB_INPUTS[name]
        path = mark.path(home, read.output)
        paths[name] = str(path.parent if read.folder else path)
        if read.corpus:
            paths["corpus"] = home.relative(path.parent)
    return paths


def _folder(verb: Verb) -> Callable[[Home, str], Path]:
    return lambda home, key: home.run(verb, key)


TRAIN = Stage("train", 2, _train, "gpu", _folder("train"), role=Role.TRAINING)
SELECT = Stage("select-channels", 1, _select, "gpu", _folder("select"), role=Role.SELECTION)
EVALUATE = Stage("evaluate", 2, _evaluate, "gpu", _folder("evaluate"), role=Role.EVALUATION)
