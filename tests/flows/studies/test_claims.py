"""A home's studies are read back as they were claimed, those of an earlier release too."""

import json
from pathlib import Path

import pytest

from flows.studies import claims
from flows.studies.mixit.recipes import smoke
from flows.studies.table import STUDIES, checked, named, parsed, study_of, study_of_recipe
from storage.errors import ConfigError, ManifestError
from storage.home.layout import Home


def test_what_is_claimed_is_read(tmp_path: Path) -> None:
    home, config = Home(tmp_path), smoke()
    for part in ("study", "table1", "study"):
        claims.claim(home, config, part)
    assert claims.names(home) == ["smoke"]
    held = claims.read(home, "smoke")
    assert (held.study.name, held.config, held.parts) == ("mixit", config, ("study", "table1"))
    assert list(claims.read_all(home)) == [held]


@pytest.mark.parametrize("gone", [{"study"}, {"study", "parts"}])
def test_a_home_that_names_no_study(tmp_path: Path, gone: set[str]) -> None:
    home, config = Home(tmp_path), smoke()
    claims.claim(home, config, "study")
    path = home.study("smoke")
    held = json.loads(path.read_text())
    # Stems became a setting later.
    del held["config"]["stems"]
    path.write_text(json.dumps({name: value for name, value in held.items() if name not in gone}))
    found = claims.read(home, "smoke")
    assert (found.study, found.config) == (STUDIES[0], config)
    claims.claim(home, config, "study")


def test_a_damaged_claim_says_so(tmp_path: Path) -> None:
    home = Home(tmp_path)
    path = home.study("smoke")
    path.parent.mkdir()
    path.write_text('{"config": ')
    with pytest.raises(ManifestError, match=r"smoke\.json is damaged .*; run the study again"):
        claims.read(home, "smoke")


def test_a_flow_takes_its_own_study_s_configurations() -> None:
    config = named("smoke")
    assert checked("table1", config) is config
    assert parsed("fma", config.model_dump(mode="json")) == config
    assert study_of_recipe("smoke") is study_of("table1") is STUDIES[0]
    with pytest.raises(ConfigError, match="unknown flow 'table9'; did you mean 'table"):
        study_of("table9")
    bare = named("smoke").model_copy()
    object.__setattr__(bare, "__class__", type(bare).__mro__[1])
    with pytest.raises(ConfigError, match="flow 'table1' is of study mixit, but configuration"):
        checked("table1", bare)
