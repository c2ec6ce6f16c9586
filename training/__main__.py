"""`python -m training VERB RUN`: one GPU job, whose whole message is its run directory.

    python -m training train|select|evaluate RUN
    python -m training separate MODEL DESTINATION SONG...
    python -m training import CHECKPOINT MODEL [--settings FILE.yaml]
    python -m training fit RECIPE.json [--memory-gb GB]

Under torchrun every process runs this; only the leading one writes.
"""

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from storage.errors import RunError, StemworksError
from storage.files import only_one, read_json
from storage.home.job_events import EventLog, write_failure
from storage.home.runs import Run, Verb
from training.config import DeliveryConfig, SeparateConfig, TrainConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Do one job; print what went wrong in one line, and return the exit code."""
    parsed = _parser().parse_args(arguments)
    run = Run(parsed.run) if parsed.verb in get_args(Verb) else None
    # The process that asks what fits reads the reason beside the recipe.
    folder = Run(parsed.recipe.parent) if parsed.verb == "fit" else run
    _configure_logging(logging.INFO if _leads() else logging.WARNING, run)
    try:
        _do(parsed, run)
    except StemworksError as error:
        if folder:
            write_failure(folder, error, error.exit_code, _rank())
        sys.stderr.write(f"error: {_rank()}{' '.join(str(error).split())}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    except Exception as error:
        if run:
            write_failure(run, error, 1, f"{_rank()}{type(error).__name__}: ")
        raise
    return 0


def _do(parsed: argparse.Namespace, run: Run | None) -> None:
    if run and _leads():
        _lead(parsed.verb, run)
    elif run and parsed.verb == "train":
        job_of("train")(run)
    elif parsed.verb == "fit":
        _fit(parsed)
    elif parsed.verb == "separate":
        _separate(parsed)
    elif parsed.verb == "import":
        from training.jobs.import_checkpoint import import_checkpoint

        import_checkpoint(parsed.checkpoint, parsed.model, parsed.settings, parsed.form)


def job_of(verb: Verb) -> Callable[[Run], None]:
    """Return the function of a job, having imported its module and no other job's."""
    if verb == "train":
        from training.jobs.train import train

        return train
    if verb == "select":
        from training.jobs.select_channels import select

        return select
    from training.jobs.evaluate import evaluate

    return evaluate


def _fit(parsed: argparse.Namespace) -> None:
    from training.jobs.fit_memory import GIGABYTE, probe

    recipe = TrainConfig.parse(read_json(parsed.recipe))
    sys.stdout.write(json.dumps(probe(recipe, round(parsed.memory_gb * GIGABYTE))) + "\n")


def _leads() -> bool:
    """Say whether this process leads its job; torchrun starts several."""
    return os.environ.get("RANK", "0") == "0"


def _separate(parsed: argparse.Namespace) -> None:
    from training.jobs.progress_rows import songs_progress
    from training.jobs.separate_songs import separate_songs

    config = SeparateConfig(
        shifts=parsed.shifts,
        swap_channels=parsed.swap_channels,
        sum_to_mixture=parsed.sum_to_mixture,
    )
    delivery = DeliveryConfig(format=parsed.format, pictures=parsed.pictures)
    with songs_progress() as watch:
        separate_songs(parsed.model, parsed.songs, parsed.destination, config, delivery, watch)


def _lead(verb: Verb, run: Run) -> None:
    job = run.job()
    if job.verb != verb:
        raise RunError(
            f"{run.root} asks for `{job.verb}`, not `{verb}`; run `python -m training "
            f"{job.verb} {run.root}`"
        )
    with only_one(run.lock, f"the job in {run.root}"):
        job_of(verb)(run)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="One GPU job.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for name in get_args(Verb):
        job = verbs.add_parser(name, help=f"do the {name} job of a run directory")
        job.add_argument("run", type=Path, help="the run directory")
    _add_separate(verbs.add_parser("separate", help="separate songs into stems"))
    fit = verbs.add_parser("fit", help="find the largest micro-batch of a recipe; print JSON")
    fit.add_argument("recipe", type=Path, help="a training recipe as JSON")
    fit.add_argument("--memory-gb", type=float, default=0.0, help="try it on the CPU, in so much")
    foreign = verbs.add_parser("import", help="turn a foreign checkpoint into a model")
    foreign.add_argument("checkpoint", type=Path, help="a PyTorch file, or .safetensors")
    foreign.add_argument("model", type=Path, help="the model's folder, to be written")
    foreign.add_argument("--settings", type=Path, help="the YAML published beside it")
    foreign.add_argument(
        "--form",
        default="",
        help="published or community; community by default where --settings is given",
    )
    return parser


def _add_separate(songs: argparse.ArgumentParser) -> None:
    songs.add_argument("model", type=Path, help="a trained model's folder")
    songs.add_argument("destination", type=Path, help="folder to write <song>/<stem>.wav to")
    songs.add_argument("songs", type=Path, nargs="+", metavar="song", help="in any format")
    songs.add_argument("--format", choices=("wav", "wav24", "flac"), default="wav")
    songs.add_argument("--shifts", type=_at_least_one, default=1, help="framings to average")
    songs.add_argument("--swap-channels", action="store_true", help="average with them exchanged")
    songs.add_argument("--sum-to-mixture", action="store_true", help="let stems add up to the song")
    songs.add_argument("--pictures", action="store_true", help="draw a spectrogram per stem")


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than one")
    return number


class _Lines(logging.Formatter):
    """Messages as they are; what needs attention says so first, and which process it is from."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        text = super().format(record)
        if record.levelno < logging.WARNING:
            return text
        return f"{record.levelname.lower()}: {_rank()}{text}"


def _rank() -> str:
    """Name this process where there are several."""
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    return "" if alone else f"rank {os.environ.get('RANK', '0')}: "


def _configure_logging(level: int, run: Run | None = None) -> None:
    """Log to standard error for people and, of a run, to its events for the waiting process."""
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    events = [EventLog(run, _rank())] if run and run.root.is_dir() else []
    logging.basicConfig(level=level, handlers=[handler, *events], force=True)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
