"""The verb `train`: a run directory in, a trained model in its result."""

from pathlib import Path

from storage.config import Json
from storage.errors import CheckpointError
from storage.files import hash_file
from storage.home.runs import Job, Run
from training.checkpoints.checkpoint import Checkpoints, State
from training.checkpoints.ema import MovingAverage
from training.checkpoints.start import initial_model
from training.checkpoints.weights import fit_into, save_model
from training.config import TrainConfig
from training.distributed import ProcessRank, join, require_examples
from training.engine import optim
from training.engine.acceleration import accelerate
from training.engine.loading import loader
from training.engine.loop import Work, fit
from training.engine.snapshots import Snapshots
from training.engine.telemetry import Telemetry
from training.model_folder import EXPLANATION
from training.objectives.objective import build

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
    with join(config.runtime, config.precision) as process:
        require_examples(process, config.data.batch_size)
        work = assemble(run, job, config, process)
        fit(work)
        if process.leads:
            export(work, run, job)


def assemble(run: Run, job: Job, config: TrainConfig, process: ProcessRank) -> Work:
    """Put model, data, objective, optimiser and records together."""
    model = initial_model(config, job).to(process.device)
    accelerate(model, config.runtime, process.device)
    decay = config.loop.ema_decay
    identity = {"config": config.digest(), **{f"input.{k}": v for k, v in digests(job).items()}}
    batches = loader(config, job, process)
    objective = build(config.objective, config.model)
    return Work(
        config=config,
        process=process,
        state=State(
            model,
            optim.build(model.parameters(), config.optim),
            MovingAverage(model, decay) if decay else None,
        ),
        objective=objective,
        data=batches,
        checkpoints=Checkpoints(run.checkpoints, identity, config.loop.keep_best),
        telemetry=Telemetry(run, config.loop.steps, config.data.batch_size, process.leads),
        snapshots=Snapshots(run.root / "snapshots", config, batches),
    )


def export(work: Work, run: Run, job: Job) -> None:
    """Write the mean of the best checkpoints; the same checkpoints give the same bytes."""
    parameters = {name for name, _ in work.model.named_parameters()}
    weights, chosen = work.checkpoints.result(parameters)
    fit_into(work.model, weights, run.checkpoints)
    explanation: Json = {
        "model": work.config.model.model_dump(mode="json"),
        "recipe": work.config.what_matters(),
        "recipe_digest": work.config.digest(),
        "inputs": digests(job),
        "stems": work.objective.output_names(work.config.data.names),
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
