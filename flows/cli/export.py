"""`export` a trained model with its card and lineage; `import` one that was published elsewhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.lineage import Found, home_around, value_of
from flows.cli.options import AsJson
from flows.cli.output import View, stdout_view
from flows.stages.attribution import Credits, trained_on
from flows.stages.lineage import LineageGraph
from flows.studies import claims
from storage.config import Json
from storage.errors import CheckpointError, ConfigError
from storage.files import arriving, disk_errors, hash_file, read_json, write_bytes, write_json
from storage.home.layout import ATTRIBUTION, Home
from storage.home.marks import Mark
from storage.manifests import read_rows, read_table, write_table
from storage.names.spelling import printable
from storage.records import SongScore, TrainedOn
from training.model_folder import (
    EXPLANATION,
    WEIGHTS,
    find_model,
    read_explanation,
    settings_of,
    stems_of,
)
from training.report import card, score_table
from training.report.formats import count
from training.report.music import licences_of, music_of
from training.report.score_tables import ScoreTable

app = typer.Typer()
CARD, LINEAGE = "README.md", "lineage.json"
Form = Literal["published", "community"]
"""Of a checkpoint that was published elsewhere."""


@app.command()
def export(
    run_directory: Annotated[
        Path, typer.Argument(metavar="RUN", help="Run directory: HOME/runs/train-KEY.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    as_json: AsJson = False,
) -> None:
    """Copy a trained model out, with card, lineage and attribution."""
    export_model(run_directory, out, stdout_view(as_json))


def export_model(run_directory: Path, out: Path, view: View) -> None:
    """Write a training run's model to a folder of its own.

    `model.safetensors` and `model.json` are copied byte for byte and compared; `README.md` is the
    model's card with its scores, `lineage.json` says what it was made from, and `ATTRIBUTION.csv`
    names every track that it was trained on.

    Raises:
        ConfigError: the directory holds no trained model, or `out` exists and is not empty.
        CheckpointError: the weights are damaged.
    """
    model = find_model(run_directory)
    if model is None:
        what = "holds no trained model" if run_directory.is_dir() else "is no folder"
        raise ConfigError(f"{run_directory} {what}; give a training's run directory")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty; give a new folder")
    explanation = read_json(model / EXPLANATION)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        _copy(model / WEIGHTS, out / WEIGHTS, explanation["sha256"])
        _explain(model, out, explanation)
        # Last, so that a half written folder is no model.
        shutil.copyfile(model / EXPLANATION, out / EXPLANATION)
    files = sorted(path.name for path in out.iterdir())
    view.show({"folder": str(out), "files": files}, f"{out}: {', '.join(files)}")


def _copy(source: Path, target: Path, sha256: str) -> None:
    with arriving(target) as temporary:
        shutil.copyfile(source, temporary)
    if hash_file(target) != sha256:
        target.unlink()
        raise CheckpointError(
            f"weights {source} are damaged: their sha256 has changed; run the study again, or "
            "restore them from a backup"
        )


def _explain(model: Path, out: Path, explanation: Json) -> None:
    """Write the card, the attribution and, of a model in a home, its lineage."""
    home = home_around(model)
    mark = _mark_of(home, model) if home else None
    scores, study = score_table([]), _recipe(model, explanation)
    music = Credits(_listed_beside(model), [])
    if home and mark:
        graph = LineageGraph(home)
        scores, study = _scores(home, mark, graph), _study(home, mark, graph) or study
        music = trained_on(graph, mark, study)
        found = value_of(graph, Found(str(model), mark, "its path"))
        write_json(out / LINEAGE, found | {"music": _music(study, music)})
    if music.rows:
        write_table(out / ATTRIBUTION, TrainedOn, music.rows)
    licences = licences_of(study, music_of(music.rows), music.unknown)
    text = card.markdown(printable(out.name), study, scores, licences)
    write_bytes(out / CARD, text.encode())


def _music(study: Json, music: Credits) -> Json:
    """Return, for machines, which licences were asked for, and which the music has."""
    return {
        "licences_allowed": study.get("licences", []),
        "trained_on": [one._asdict() for one in music_of(music.rows)],
        "not_listed": music.unknown,
    }


def _listed_beside(model: Path) -> list[TrainedOn]:
    """Return what an exported model says of its training; nothing if it says nothing."""
    listed = model / ATTRIBUTION
    return read_table(listed, TrainedOn) if listed.is_file() else []


def _recipe(model: Path, explanation: Json) -> Json:
    """Return what a model's own JSON says of how it was made, as the part of a study that it is."""
    if origin := explanation.get("imported_from"):
        stems = {"stems": list(stems_of(model))}
        return {"imported": origin, "model": explanation.get("model", {}), "evaluation": stems}
    recipe = explanation.get("recipe", {"model": explanation.get("model", {})})
    tuned = recipe.get("objective", {}).get("kind", "supervised") == "supervised"
    return {"finetuning" if tuned else "pretraining": recipe}


def _mark_of(home: Home, model: Path) -> Mark | None:
    relative = home.relative((model / EXPLANATION).resolve())
    for mark in LineageGraph(home).marks:
        if any(output.path == relative for output in mark.outputs):
            return mark
    return None


def _scores(home: Home, mark: Mark, graph: LineageGraph) -> ScoreTable:
    """Return the scores of a model, if it was evaluated in this home."""
    rows = [
        ("this model", read_rows(one.path(home, "scores.jsonl"), SongScore))
        for one in graph.marks
        if one.stage == "evaluate" and one.inputs.get("model") == mark.digest
    ]
    return score_table(rows[:1], with_ends=True)


def _study(home: Home, mark: Mark, graph: LineageGraph) -> Json:
    """Return the settings of a study here that made this model, or of a variant of its tables."""
    for held in claims.read_all(home):
        for config in held.study.configs(held.config, held.parts):
            if settings := held.study.settings_of(config, mark, graph):
                return settings
    return {}


@app.command(name="import")
def import_(
    checkpoint: Annotated[Path, typer.Argument(help="A PyTorch or .safetensors file.")],
    model: Annotated[Path, typer.Argument(help="Folder to write the model to.")],
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The YAML published beside the checkpoint.")
    ] = None,
    form: Annotated[
        Form | None,
        typer.Option(
            help="Of the checkpoint; without it: community with --settings, else published."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a published checkpoint into a model. Separate with it, score and fine-tune it."""
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
