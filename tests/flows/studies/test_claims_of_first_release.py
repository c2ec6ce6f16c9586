"""A study that the first release claimed: its stored configuration means what it meant."""

import json
from pathlib import Path

from flows.studies import claims
from flows.studies.mixit.recipes import RECIPES
from storage.home.layout import Home
from training.config import SeparateConfig


def stored(home: Home, recipe: str) -> None:
    """Store a recipe as the first release did: flat optimiser, all defaults, no study's name."""
    values = RECIPES[recipe]().model_dump(mode="json")
    for half in ("pretraining", "finetuning"):
        run = values[half]
        schedule = run.pop("schedule")
        run["optim"] |= schedule
        del run["optim"]["kind"], run["start"]
        for name in ("level_n_fft", "level_hop"):
            del run["objective"][name]
        if run["data"]["kind"] == "clips":
            run["data"]["kind"] = "mixit"
        run["data"].pop("stems", None)
    del values["stems"], values["musdb"]["stems"], values["musdb"]["mix"]
    del values["selection"]["stems"], values["evaluation"]["stems"]
    del values["evaluation"]["assignment"]
    separate = values["evaluation"]["separate"]
    if separate["chunk_seconds"] is None:
        separate |= {"chunk_seconds": 12.0, "hop_seconds": 6.0}
    text = json.dumps({"matters": {}, "config": values, "parts": ["study"]})
    home.write(home.study(recipe), text.encode())


def test_every_recipe_of_it_is_read_with_the_keys_it_had(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for recipe in RECIPES:
        stored(home, recipe)
    held = {name: claims.read(home, name).config for name in claims.names(home)}
    assert held.keys() == RECIPES.keys()
    for name, config in held.items():
        assert config.digest() == RECIPES[name]().digest(), name


def test_chunks_that_were_set_stay_as_they_were(tmp_path: Path) -> None:
    home = Home(tmp_path)
    stored(home, "smoke")
    config = claims.read(home, "smoke").config
    [evaluation] = [getattr(config, "evaluation")]  # noqa: B009
    assert evaluation.separate == SeparateConfig(chunk_seconds=2, hop_seconds=1)
