"""`import`: turn a checkpoint that was published elsewhere into a model's folder."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.options import AsJson
from flows.cli.output import View, stdout_view
from storage.errors import ConfigError
from storage.files import hash_file
from training.model_folder import EXPLANATION, read_explanation, settings_of, stems_of
from training.report.formats import count

app = typer.Typer()
Form = Literal["published", "community"]


@app.command(name="import")
def import_(
    checkpoint: Annotated[Path, typer.Argument(help="A PyTorch or .safetensors file.")],
    model: Annotated[Path, typer.Argument(help="Folder to write the model to.")],
    settings: Annotated[
        Path | None, typer.Option(help="The YAML file published beside the checkpoint.")
    ] = None,
    form: Annotated[
        Form | None,
        typer.Option(help="Of the checkpoint; by default community with --settings, or published."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a published checkpoint into a model to separate with, score and fine-tune."""
    options = [] if settings is None else [f"--settings={settings}"]
    options += [] if form is None else [f"--form={form}"]
    import_model(checkpoint, model, options, stdout_view(as_json))


def import_model(checkpoint: Path, model: Path, options: list[str], view: View) -> None:
    """Write a model's folder in a child process, whose errors and exit code are this command's.

    `options` go to the child. A folder that holds this checkpoint's model already is written again.

    Raises:
        ConfigError: there is no such checkpoint, or `model` holds something else.
    """
    if not checkpoint.is_file():
        raise ConfigError(f"no such checkpoint: {checkpoint}; give a file")
    _require_free(model, checkpoint)
    command = [sys.executable, "-m", "training", "import", *options, "--"]
    code = subprocess.call([*command, str(checkpoint), str(model)], env=os.environ)
    if code:
        raise SystemExit(code)
    found, stems = settings_of(model), stems_of(model)
    chunk = read_explanation(model).get("chunk_seconds") or found.CHUNK_SECONDS
    value = {
        "folder": str(model),
        "kind": found.kind,
        "outputs": found.outputs,
        "stems": list(stems),
        "sample_rate": found.sample_rate,
        "chunk_seconds": chunk,
    }
    names = f" ({', '.join(stems)})" if stems else " without names"
    view.show(
        value,
        f"{model}: {found.kind}, {count(found.outputs, 'output')}{names}, {found.sample_rate} Hz, "
        f"chunks of {chunk:g} s",
    )


def _require_free(model: Path, checkpoint: Path) -> None:
    """Raise `ConfigError` if a path holds anything but the model of this checkpoint."""
    if not model.exists():
        return
    if not model.is_dir():
        raise ConfigError(f"{model} is a file; give a folder")
    if not (model / EXPLANATION).is_file():
        return
    origin = read_explanation(model).get("imported_from", {})
    if origin.get("sha256") != hash_file(checkpoint):
        raise ConfigError(
            f"{model} holds another model ({origin.get('name', 'trained here')}); give a new "
            "folder, or delete this one first"
        )
