"""A model from outside a study: found in its folder, checked, and copied into the home.

The copy makes a home whole: its folder may be moved or deleted afterwards, and other machines find
the model in a home in a bucket.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from flows.stages.stage import Built, Inputs, Site, Stage
from storage.config import Config, Json
from storage.errors import CheckpointError, ConfigError, ManifestError
from storage.files import arriving, hash_file
from storage.home import marks
from storage.home.layout import ATTRIBUTION, Home
from storage.home.marks import Mark
from training.model_folder import (
    EXPLANATION,
    WEIGHTS,
    find_model,
    read_explanation,
    settings_of,
    stems_of,
)
from training.models.settings import ModelSettings

NAMES = (WEIGHTS, EXPLANATION)
"""Files of a model, its explanation last: a folder without one holds no model."""


class GivenModelConfig(Config):
    """A model from outside, whatever its folder is called."""

    sha256: str
    """Of its explanation, which contains its weights' sha256."""


class GivenModel(NamedTuple):
    """A model from outside, as its folder describes it."""

    path: Path
    """As it was given, in full."""
    folder: Path
    """Of its files on this machine."""
    config: GivenModelConfig
    settings: ModelSettings
    stems: tuple[str, ...]
    """Names of its outputs; none where it names none."""

    @property
    def places(self) -> Json:
        """The settings of `CHECK_MODEL` that say where the model is."""
        return {"path": str(self.path), "folder": str(self.folder)}


def find_given(home: Home, setting: str, text: str) -> GivenModel:
    """Return the model in a folder, or, once that is missing, the copy of it that the home has.

    Args:
        home: where the copy of an earlier run may be.
        setting: what errors call the path.
        text: the path of a model's folder, or of a training's run directory.

    Raises:
        ConfigError: there is no model, or it is damaged.
    """
    remedy = (
        f"give the folder that 'stemworks import' or 'stemworks export' wrote: --set {setting}="
        "FOLDER"
    )
    if not text:
        raise ConfigError(f"{setting} names no model; {remedy}")
    path = Path(text).expanduser().resolve()
    own = find_model(path)
    folder = own or _copy_of(home, path)
    if folder is None:
        raise ConfigError(f"{setting} = {path} holds no {EXPLANATION}; {remedy}")
    try:
        settings, stems = settings_of(folder), stems_of(folder)
        weights = read_explanation(folder).get("sha256")
    except CheckpointError as error:
        raise ConfigError(f"{setting} = {path}: {error}") from error
    if not isinstance(weights, str) or (own and not (own / WEIGHTS).is_file()):
        raise ConfigError(
            f"{setting} = {path} holds no {WEIGHTS} whose sha256 its {EXPLANATION} contains; "
            f"{remedy}"
        )
    config = GivenModelConfig(sha256=hash_file(folder / EXPLANATION))
    return GivenModel(path, folder, config, settings, stems)


def _copy_of(home: Home, path: Path) -> Path | None:
    """Return the home's folder of the model that was last at a path, its explanation in it."""
    found: list[Mark] = []
    for name in home.store.listing(home.relative(home.marks / CHECK_MODEL.name)):
        try:
            mark = Mark.model_validate_json(home.store.read(name))
        except (ManifestError, ValidationError):
            continue
        if mark.facts.get("folder") == str(path):
            found.append(mark)
    if not found:
        return None
    last = max(found, key=lambda mark: mark.finished)
    try:
        marks.fetch(home, [last], lambda output: output.about)
        explanation = last.path(home, f"model/{EXPLANATION}")
    except ManifestError:
        return None
    return explanation.parent if explanation.is_file() else None


def _check(site: Site, config: GivenModelConfig, inputs: Inputs) -> Built:
    """Copy a model into the home, and compare both of its files with their sha256."""
    source, copy = Path(site.settings["folder"]), site.home.model(site.key)
    explanation = read_explanation(source)
    wanted = {WEIGHTS: explanation["sha256"], EXPLANATION: config.sha256}
    for name in NAMES:
        if not (source / name).is_file():
            raise CheckpointError(f"{source / name} is missing; put it back, or import it again")
        with arriving(copy / name) as temporary:
            shutil.copyfile(source / name, temporary)
        if hash_file(copy / name) != wanted[name]:
            (copy / name).unlink()
            raise CheckpointError(
                f"{source / name} is damaged or was changed meanwhile: its sha256 is not "
                f"{wanted[name]}; import or export the model again"
            )
    made = {f"model/{name}": copy / name for name in NAMES}
    about = f"model/{ATTRIBUTION}"
    if (source / ATTRIBUTION).is_file():
        made[about] = copy / ATTRIBUTION
        with arriving(made[about]) as temporary:
            shutil.copyfile(source / ATTRIBUTION, temporary)
    settings, origin = settings_of(copy), explanation.get("imported_from", {})
    facts: Json = {
        "kind": settings.kind,
        "outputs": settings.outputs,
        "stems": list(stems_of(copy)),
        "imported_from": origin.get("name", ""),
        "folder": site.settings["path"],
    }
    return Built(made, facts, about=(about,))


CHECK_MODEL = Stage("check-model", 1, _check)
