"""A model's folder as JSON describes it, torch-free: what to build, what its outputs are.

A model is a folder: `model.safetensors`, and `model.json` with the model's config, the recipe it
was trained by or the checkpoint it was imported from, digests of what it was trained on, the step,
and the weights' own sha256. A model is exactly what this JSON says: its digest identifies it.
"""

from pathlib import Path
from typing import Any

from storage.config import Config
from storage.errors import CheckpointError, ConfigError, ManifestError
from storage.files import read_json
from storage.records import STEMS
from training.models.settings import ModelSettings
from training.models.table import ModelConfig

WEIGHTS = "model.safetensors"
EXPLANATION = "model.json"


class Explained(Config):
    """The part of a model's explanation that says what to build."""

    model: ModelConfig


def find_model(path: Path) -> Path | None:
    """Return the model's folder at a path: itself, or the one in a run directory; None: no model.

    A folder without `model.json`, which is written last, holds no model.
    """
    folders = (path, path / "model", path / "result" / "model")
    return next((folder for folder in folders if (folder / EXPLANATION).is_file()), None)


def read_explanation(folder: Path) -> dict[str, Any]:
    """Return `model.json` of a model's folder.

    Raises:
        CheckpointError: it is missing or unreadable.
    """
    if not folder.is_dir():
        raise CheckpointError(f"no model at {folder}; give the folder that holds {EXPLANATION}")
    try:
        explanation = read_json(folder / EXPLANATION)
    except ManifestError as error:
        raise CheckpointError(f"{folder} holds no model: {error}") from error
    if not isinstance(explanation, dict):
        raise CheckpointError(
            f"{folder / EXPLANATION} is no explanation of a model; train it again"
        )
    return explanation


def settings_of(folder: Path) -> ModelSettings:
    """Return the settings of the model in a folder.

    Raises:
        CheckpointError: its explanation is missing or unreadable, or describes no known model.
    """
    explanation = read_explanation(folder)
    try:
        return Explained.parse({"model": explanation["model"]}, "model setting").model
    except (KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(
            f"{folder / EXPLANATION} describes no model that this version knows ({error}); train "
            "it again"
        ) from error


def stems_of(folder: Path) -> tuple[str, ...]:
    """Return the names of a model's outputs; none where its explanation names none.

    Raises:
        CheckpointError: its explanation is missing or unreadable.
    """
    explanation = read_explanation(folder)
    named = explanation.get("stems")
    if isinstance(named, list):
        return tuple(str(name) for name in named)
    # The first release named none: what it fine-tuned had the four stems in their order, and so do
    # the paper's authors' fine-tuned models, which are imported.
    outputs = explanation.get("model", {}).get("outputs")
    supervised = explanation.get("recipe", {}).get("objective", {}).get("kind") == "supervised"
    tuned = supervised or "imported_from" in explanation
    return STEMS if tuned and outputs == len(STEMS) else ()
