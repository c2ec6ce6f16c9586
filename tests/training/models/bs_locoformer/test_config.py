"""Sizes of the model are recognised by their widths."""

import pytest

from training.models.bs_locoformer.config import LARGE, MICRO, BsLocoformerConfig
from training.models.settings import ModelSettings


@pytest.mark.parametrize(("config", "name"), [(LARGE, "large"), (MICRO, "micro")])
def test_a_size_has_its_name_whatever_its_outputs(config: BsLocoformerConfig, name: str) -> None:
    assert config.size_name == name
    assert config.model_copy(update={"outputs": config.outputs + 1}).size_name == name


def test_other_widths_have_no_name() -> None:
    assert LARGE.model_copy(update={"width": LARGE.width * 2}).size_name == ""
    assert ModelSettings(kind="any").size_name == ""
