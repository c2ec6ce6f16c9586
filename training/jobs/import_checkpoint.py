"""The verb `import`: a foreign checkpoint in, a model's folder out."""

from pathlib import Path
from typing import cast

from storage.errors import ConfigError
from storage.files import hash_file
from storage.names.spelling import printable
from storage.unions import imported
from training.checkpoints.weights import fit_into, save_model
from training.models.foreign import Imported
from training.models.separator import build
from training.models.table import FOREIGN


def import_checkpoint(
    checkpoint: Path, folder: Path, settings: Path | None = None, form: str = ""
) -> Imported:
    """Write a model's folder from a checkpoint of one of the forms in `FOREIGN`.

    Args:
        checkpoint: whose weights are taken; only tensors are ever read of it.
        folder: the model's, to be written.
        settings: the file that was published beside the checkpoint, where the form has one.
        form: of the checkpoint; none is `community` where settings are named, else `published`.

    Raises:
        ConfigError: there is no such form, or the settings are missing or malformed.
        CheckpointError: the checkpoint cannot be read, or is of another form.
    """
    form = form or ("community" if settings else "published")
    if form not in FOREIGN:
        raise ConfigError(f"unknown form '{form}' of a checkpoint; there are {', '.join(FOREIGN)}")
    model = cast("Imported", imported(FOREIGN[form])(checkpoint, settings))
    fit_into(build(model.config), model.weights, checkpoint)
    explanation = {
        "model": model.config.model_dump(mode="json"),
        "imported_from": {"name": printable(checkpoint.name), "sha256": hash_file(checkpoint)},
        "stems": list(model.stems) or None,
        "chunk_seconds": model.chunk_seconds,
        "hop_seconds": model.hop_seconds,
    }
    save_model(
        folder, model.weights, {name: it for name, it in explanation.items() if it is not None}
    )
    return model
