"""A study held to a list of licences: one setting, for all its music, and no key without it."""

import pytest

from flows.studies.adapt.recipes import RECIPES as ADAPT
from flows.studies.mixit.recipes import RECIPES
from pipelines.licences import PUBLISHED
from storage.errors import ConfigError

TINY = RECIPES["real_tiny"]()
SMOKE = RECIPES["smoke"]()
ALL = 'licences=["*Attribution*","*MUSDB18-HQ*"]'


def test_the_list_filters_the_archive_and_is_part_of_the_study() -> None:
    held = TINY.override([ALL])
    assert held.licences == held.fma.filters.licences == ("*Attribution*", "*MUSDB18-HQ*")
    assert held.what_matters()["licences"] == ["*Attribution*", "*MUSDB18-HQ*"]
    assert held.override(["licences=[]"]) == TINY, "and it can be taken back"


def test_without_a_list_no_key_changes() -> None:
    assert "licences" not in TINY.what_matters()
    assert "licence" not in TINY.what_matters()["musdb"]


def test_songs_with_stems_under_another_licence_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"songs of musdb\.archive = musdb18hq_tiny\.zip") as stop:
        TINY.override(['licences=["*Attribution*"]'])
    assert f"are under '{PUBLISHED['musdb18hq']}'; allow that" in str(stop.value)
    mine = TINY.override(['licences=["*Attribution*"]', "musdb.licence=Attribution 4.0"])
    assert mine.musdb.licence == "Attribution 4.0"
    moises = ["musdb.source=moisesdb", "musdb.archive=moisesdb.zip"]
    assert TINY.override(['licences=["*Attribution*"]', *moises]).licences


def test_a_folder_says_nothing_of_its_licence() -> None:
    folder = ["musdb.source=folder", "musdb.archive=songs", "musdb.sha1=null"]
    assert TINY.override(folder).musdb.licence == ""
    with pytest.raises(ConfigError, match=r"state it with '--set musdb\.licence=\.\.\.'"):
        TINY.override([ALL, *folder])
    assert TINY.override(['licences=["CC0"]', *folder, "musdb.licence=cc0"]).licences == ("CC0",)


def test_parts_that_disagree_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"but fma\.filters\.licences = \[\"CC0\"\]; give '--set"):
        TINY.override([ALL, 'fma.filters.licences=["CC0"]'])
    alone = TINY.override(['fma.filters.licences=["CC0"]'])
    assert alone.licences == (), "a filter of the archive alone is no promise of the study"


def test_songs_that_are_synthesised_are_nobody_elses() -> None:
    assert SMOKE.override(['licences=["CC0*"]']).fma.filters.licences == ("CC0*",)


def test_every_study_can_be_held() -> None:
    adapt = next(iter(ADAPT.values()))()
    with pytest.raises(ConfigError, match="Educational and non-commercial"):
        adapt.override(['licences=["CC0"]', "synthesis=null"])
    assert adapt.override([ALL, "synthesis=null"]).licences
