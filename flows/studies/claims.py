"""Which studies a home holds: the configuration of each name, and what was run."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from flows.config import StudyConfig
from flows.studies.study import Study
from flows.studies.table import FLOWS, STUDIES, study_of
from storage.config import Json, differences
from storage.errors import HomeConflictError, ManifestError
from storage.home.layout import Home


class Claim(NamedTuple):
    """One study of a home."""

    study: Study[Any]
    config: StudyConfig
    parts: tuple[str, ...]
    """Flows that were run of it."""


def claim(home: Home, config: StudyConfig, part: str) -> None:
    """Take a study's name in a home, for this configuration and no other; note what was run.

    Raises:
        HomeConflictError: the name has another configuration here; says what differs.
    """
    path, wanted = home.study(config.name), config.what_matters()
    known: Json = {}
    with suppress(ManifestError, ValueError):
        known = json.loads(home.read(path))
    changed = differences(known.get("matters", wanted), wanted)
    if changed:
        raise HomeConflictError(
            f"home {home.url} holds study '{config.name}' with other settings "
            f"({'; '.join(changed[:5])}{'; ...' if len(changed) > 5 else ''}); use another --home, "
            "or another name: '--set name=NAME', or name in a recipe file"
        )
    # Settings that decide nothing may differ from run to run: those of the last run are kept.
    held = {
        "study": study_of(part).name,
        "matters": wanted,
        "config": config.model_dump(mode="json"),
        "parts": sorted({part, *known.get("parts", ())}),
    }
    home.write(path, (json.dumps(held, indent=2, sort_keys=True) + "\n").encode())


def names(home: Home) -> list[str]:
    """Return the names that a home has configurations for."""
    return sorted(Path(path).stem for path in home.store.listing("studies"))


def read(home: Home, name: str) -> Claim:
    """Return what a home holds under a name.

    Raises:
        ConfigError: it is no configuration of this release, or of a study that it has not.
        ManifestError: it cannot be read.
    """
    try:
        held = json.loads(home.read(home.study(name)))
        study, values = _study(held), held["config"]
        # The first release did not name the study.
        values = values if "study" in held else study.of_first_release(values)
        parts = tuple(part for part in held.get("parts", ()) if part in study.parts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(
            f"{home.spell(home.study(name))} is damaged ({error!r}); run the study again"
        ) from error
    return Claim(study, study.config.parse(values), parts)


def read_all(home: Home) -> Iterator[Claim]:
    """Yield every study of a home; see `read`."""
    for name in names(home):
        yield read(home, name)


def _study(held: Json) -> Study[Any]:
    """Return the study by its name, or by its flows; homes of the first release name none."""
    for study in STUDIES:
        if study.name == held.get("study"):
            return study
    return next((FLOWS[part] for part in held.get("parts", ()) if part in FLOWS), STUDIES[0])
