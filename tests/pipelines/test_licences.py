"""Licences: who says which, and what a list allows."""

import pytest

from pipelines.licences import PUBLISHED, allows, licence_of


@pytest.mark.parametrize(
    ("held", "patterns", "allowed"),
    [
        ("Attribution", ["attribution"], True),
        ("Attribution-NonCommercial 3.0", ["attribution"], False),
        ("Attribution-NonCommercial 3.0", ["*NONCOMMERCIAL*"], True),
        ("CC0 1.0", ["*Attribution*", "cc0*"], True),
        ("", ["*Attribution*"], False),
        ("", ["*"], True),
        ("CC0", [], False),
    ],
)
def test_patterns_allow_whatever_the_case(held: str, patterns: list[str], allowed: bool) -> None:
    assert allows(patterns, held) == allowed


def test_what_is_stated_stands_above_what_is_known() -> None:
    assert licence_of("musdb18hq", "") == PUBLISHED["musdb18hq"]
    assert "NonCommercial" in licence_of("moisesdb", "")
    assert licence_of("folder", "") == ""
    assert licence_of("folder", "CC BY 4.0") == licence_of("musdb18hq", "CC BY 4.0") == "CC BY 4.0"
