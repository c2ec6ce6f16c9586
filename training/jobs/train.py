"""The verb `train`: a run directory in, a trained model in its result."""

from pathlib import Path

from torch import nn

from storage.config import Json
from storage.errors import CheckpointError
from storage.files import hash_file
from storage.home.runs import Job, Run
from storage.records import STEMS, ChannelMap
from training import data, seeds
from training.config import TrainConfig
from training.distributed import ProcessRank, join, require_examples
from training.engine import objectives, optim
from training.engine.checkpoint import Checkpoints, State
from training.engine.ema import MovingAverage
from training.engine.loop import Work, fit
from training.engine.snapshots import Snapshots
from training.engine.telemetry import Telemetry
from training.engine.weights import EXPLANATION, fit_into, load_model, save_model
from training.jobs.select_channels import read_map
from training.models import build, select_outputs, separator_parameters
from training.models.acceleration import accelerate
from training.models.separator import Separator

PLACES = ("home", "corpus")
"""Inputs that say where things are, not what they are."""


def train(run: Run) -> None:
    """Train as the run's job says, from where it stands, and leave the model in its result.

    A run that is finished already writes the same result again.

    Raises:
        StemworksError: what the job needs is missing, or does not fit together.
        SystemExit: a signal came; a checkpoint was written first.
    """
    job = run.job()
    config = TrainConfig.parse(job.recipe)
    with join(config.runtime, config.precision) as place:
        require_examples(place, config.data.batch_size)
        work = assemble(run, job, config, place)
        fit(work)
        if place.leads:
            export(work, run, job)


def assemble(run: Run, job: Job, config: TrainConfig, place: ProcessRank) -> Work:
    """Put model, data, objective, optimiser and records together."""
    model = initial_model(config, job).to(place.device)
    accelerate(model, config.runtime, place.device)
    decay = config.loop.ema_decay
    identity = {"config": config.digest(), **{f"input.{k}": v for k, v in digests(job).items()}}
    loader = data.loader(config, job, place)
    return Work(
        config=config,
        place=place,
        state=State(
            model,
            optim.build(model.parameters(), config.optim),
            MovingAverage(model, decay) if decay else None,
        ),
        objective=objectives.build(config.objective, config.model),
        data=loader,
        checkpoints=Checkpoints(run.checkpoints, identity, config.loop.keep_best),
        telemetry=Telemetry(run, config.loop.steps, config.data.batch_size, place.leads),
        snapshots=Snapshots(run.root / "snapshots", config, loader),
    )


def initial_model(config: TrainConfig, job: Job) -> Separator:
    """Return the model to begin with.

    Seeded random weights; or those of the input `model`, of whose outputs the input `channels`
    (a channel map) chooses one per stem.

    Raises:
        CheckpointError: the given weights do not fit the recipe's model.
    """
    seeds.seed_torch(config.loop.seed, "model")
    model = build(config.model)
    if "model" in job.inputs:
        source = job.path("model")
        given = load_model(source)
        if "channels" in job.inputs:
            given = select_outputs(given, _chosen(job.path("channels")))
        fit_into(model, given.state_dict(), source)
    if config.freeze_separator:
        _freeze(model)
    return model


def export(work: Work, run: Run, job: Job) -> None:
    """Write the mean of the best checkpoints; the same checkpoints give the same bytes."""
    weights, chosen = work.checkpoints.result()
    fit_into(work.model, weights, run.checkpoints)
    explanation: Json = {
        "model": work.config.model.model_dump(mode="json"),
        "recipe": work.config.what_matters(),
        "recipe_digest": work.config.digest(),
        "inputs": digests(job),
        "steps": work.config.loop.steps,
        "epoch": work.data.epoch(),
        **chosen,
    }
    save_model(run.model, weights, explanation)


def digests(job: Job) -> dict[str, str]:
    """Return the sha256 of each input; of a model, that of the JSON which names its weights'."""
    return {name: _digest(job.path(name)) for name in sorted(job.inputs) if name not in PLACES}


def _digest(path: Path) -> str:
    file = path / EXPLANATION if path.is_dir() else path
    try:
        return hash_file(file)
    except OSError as error:
        raise CheckpointError(
            f"input {file} cannot be read ({error.strerror}); run what makes it again"
        ) from error


def _chosen(path: Path) -> tuple[int, ...]:
    chosen: ChannelMap = read_map(path)
    if chosen.stems != STEMS:
        raise CheckpointError(
            f"channel map {path} is for {', '.join(chosen.stems)}, but models are fine-tuned for "
            f"{', '.join(STEMS)}; select the channels again"
        )
    return chosen.channels


def _freeze(model: nn.Module) -> None:
    assert isinstance(model, Separator)
    for parameter in separator_parameters(model):
        parameter.requires_grad_(False)
