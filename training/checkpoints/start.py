"""The weights that a run begins with: random, another run's, or parts of another run's."""

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from storage.errors import CheckpointError
from storage.home.runs import Job
from training import seeds
from training.checkpoints.channel_map import chosen_outputs
from training.checkpoints.weights import fit_into, load_model
from training.config import TrainConfig
from training.models.separator import Freezes, Separator, build, select_outputs
from training.settings.starts import PrefixesStart

logger = logging.getLogger(__name__)


def initial_model(config: TrainConfig, job: Job) -> Separator:
    """Return the model to begin with, as `config.start` says.

    Seeded random weights; or those of the input `model`, of whose outputs the input `channels`
    (a channel map) chooses one per stem; or parts of them.

    Raises:
        CheckpointError: the given weights do not fit the recipe's model.
    """
    seeds.seed_torch(config.loop.seed, "model")
    model = build(config.model)
    if "model" in job.inputs:
        source = job.path("model")
        given = load_model(source)
        if "channels" in job.inputs:
            chosen = chosen_outputs(job.path("channels"), config.data.names)
            given = select_outputs(given, chosen)
        if isinstance(config.start, PrefixesStart):
            copy_parts(model, given.state_dict(), config.start, source)
        else:
            fit_into(model, given.state_dict(), source)
    elif isinstance(config.start, PrefixesStart):
        raise CheckpointError(
            "start.kind = 'prefixes' takes weights of the job's input 'model', and the job has "
            "none; give it one, or set start.kind=inputs"
        )
    if config.freeze_separator:
        assert isinstance(model, Freezes), "the configuration asks the model for this ability"
        for parameter in model.frozen_parameters():
            parameter.requires_grad_(False)
    return model


def copy_parts(
    model: Separator, given: Mapping[str, Tensor], start: PrefixesStart, source: Path
) -> None:
    """Copy into a model the tensors whose names begin as `start.prefixes` says; log which.

    Raises:
        CheckpointError: where the start is strict, a tensor that a prefix names has no place or
            another shape here, or one here under a prefix stays fresh; nothing is copied at all.
    """
    own = model.state_dict()
    renamed = _by_new_name(given, start, source)
    fitting = {
        name: value
        for name, value in renamed.items()
        if name in own and own[name].shape == value.shape
    }
    fresh = sorted(own.keys() - fitting.keys())
    if start.strict:
        problems = _misfits(own, renamed, tuple(start.prefixes.values()))
        if problems or not fitting:
            found = min(problems, default="no tensor's name begins so")
            more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
            raise CheckpointError(
                f"weights {source} do not fit by start.prefixes {start.prefixes}: {found}{more}; "
                "correct the prefixes, or set start.strict=false to leave fresh what does not fit"
            )
    model.load_state_dict({**own, **fitting})
    logger.info("copied from %s: %d tensors (%s)", source, len(fitting), _listed(fitting))
    logger.info("fresh: %d tensors (%s)", len(fresh), _listed(fresh))


def _by_new_name(
    given: Mapping[str, Tensor], start: PrefixesStart, source: Path
) -> dict[str, Tensor]:
    """Return the tensors that a prefix names, by their names here; no two may share one."""
    origins: dict[str, str] = {}
    for name in given:
        new = _renamed(name, start.prefixes)
        if new is not None and new in origins:
            raise CheckpointError(
                f"weights {source}: start.prefixes {start.prefixes} give both '{origins[new]}' and "
                f"'{name}' the name '{new}'; let each prefix lead to names of its own"
            )
        if new is not None:
            origins[new] = name
    return {new: given[name] for new, name in origins.items()}


def _misfits(
    own: Mapping[str, Tensor], renamed: Mapping[str, Tensor], targets: tuple[str, ...]
) -> list[str]:
    """Say which tensors have no place or another shape, and which under a target none is for."""
    both = own.keys() & renamed.keys()
    return [
        *(f"'{name}' is not in the model" for name in renamed.keys() - own.keys()),
        *(
            f"'{name}' is {list(renamed[name].shape)} there and {list(own[name].shape)} here"
            for name in both
            if renamed[name].shape != own[name].shape
        ),
        *(
            f"'{name}' would stay fresh"
            for name in own.keys() - renamed.keys()
            if name.startswith(targets)
        ),
    ]


def _renamed(name: str, prefixes: Mapping[str, str]) -> str | None:
    fitting = [prefix for prefix in prefixes if name.startswith(prefix)]
    if not fitting:
        return None
    longest = max(fitting, key=len)
    return prefixes[longest] + name.removeprefix(longest)


def _listed(names: Mapping[str, Tensor] | list[str]) -> str:
    """Return the modules that tensors belong to, each with how many, in their order."""
    counts: dict[str, int] = {}
    for name in sorted(names):
        module = ".".join(name.split(".")[:2])
        counts[module] = counts.get(module, 0) + 1
    return ", ".join(f"{module} {count}" for module, count in counts.items()) or "none"
