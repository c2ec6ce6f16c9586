"""The census on the command line: tracks and hours by reason, what was measured as pictures."""

from pathlib import Path

import pytest

from flows.cli import census
from storage.errors import ConfigError
from storage.home.layout import Home
from tests import synthesised
from tests.flows.cli.test_views import json_of, text_of

pytestmark = pytest.mark.slow


@pytest.fixture
def home(finished: Path) -> Home:
    return Home(finished)


def test_census(home: Home) -> None:
    counts = json_of(lambda view: census.show_census(home, "", view))
    assert {"tracks_in", "kept", "filtered", "quarantined", "clips", "hours"} <= counts.keys()
    lost = sum(counts["filtered"].values()) + sum(counts["quarantined"].values())
    assert counts["tracks_in"] == counts["kept"] + lost == synthesised.FMA_TRACKS
    table = text_of(lambda view: census.show_census(home, "smoke", view))
    assert all(reason in table for reason in synthesised.FMA_QUARANTINED)
    with pytest.raises(ConfigError, match="no study 'other'; it has smoke"):
        text_of(lambda view: census.show_census(home, "other", view))


def test_hours_and_measures_are_shown(home: Home) -> None:
    counts = json_of(lambda view: census.show_census(home, "", view))
    table = text_of(lambda view: census.show_census(home, "", view))
    assert "but in no clip" in table
    assert f"{counts['hours_in']:.2f}" in table
    # A track of too low a rate is left out before it is decoded.
    measured = counts["hours_in"] - counts["hours_lost"]["rate_below_44100"]
    assert counts["measures"]
    for one in counts["measures"].values():
        assert sum(one["hours"]) == pytest.approx(measured, abs=1e-4)
        assert one["words"] in table
    assert set("▁▂▃▄▅▆▇█") & set(table)
