"""Settings of the data side that contradict each other are refused by name, with the remedy."""

from typing import Any

import pytest

from pipelines.config import MOISESDB_STEMS, MusdbConfig
from storage.errors import ConfigError

REST = {"rest": ["bass", "drums", "other"]}


def test_a_stem_is_a_recording_or_a_sum() -> None:
    two = MusdbConfig.parse({"stems": ["vocals", "rest"], "mix": REST})
    assert two.recordings() == {"rest": ("bass", "drums", "other"), "vocals": ("vocals",)}
    assert MusdbConfig().recordings() == {
        name: (name,) for name in ("bass", "drums", "other", "vocals")
    }


def test_moisesdb_is_four_stems_unless_others_are_named() -> None:
    four = MusdbConfig(source="moisesdb").recordings()
    assert {name: len(names) for name, names in four.items()} == {
        "bass": 1,
        "drums": 1,
        "other": 8,
        "vocals": 1,
    }
    assert sorted(name for names in four.values() for name in names) == sorted(MOISESDB_STEMS)
    eleven = MusdbConfig(source="moisesdb", stems=MOISESDB_STEMS).recordings()
    assert eleven == {name: (name,) for name in sorted(MOISESDB_STEMS)}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"stems": []}, "at least 1 item"),
        ({"stems": ["vocals", "bass", "vocals"]}, "lists vocals more than once"),
        ({"stems": ["vocals", "mixture"]}, "may be called mixture"),
        ({"stems": ["vocals", "rest"], "mix": {"rest": ["mixture"]}}, "may be called mixture"),
        ({"mix": REST}, "a sum for rest, which stems does not list; add it"),
        ({"stems": ["rest"], "mix": {"rest": []}}, "at least 1 item"),
        ({"stems": ["bass", "rest"], "mix": REST}, "more than one stem: bass; use each in one"),
        ({"stems": ["rest"], "mix": {"rest": ["bass", "bass"]}}, "more than one stem: bass"),
        ({"stems": ["../vocals"]}, "should match pattern"),
        ({"source": "moisesdb", "stems": ["vocals", "choir"]}, "no recordings of choir; it has"),
        (
            {"source": "moisesdb", "stems": ["vocals", "rest"], "mix": {"rest": ["organ"]}},
            "no recordings of organ",
        ),
    ],
)
def test_stems_that_cannot_be_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MusdbConfig.parse(values)


def test_stems_key_nothing_at_their_default() -> None:
    assert not {"stems", "mix"} & MusdbConfig().what_matters().keys()
    two = MusdbConfig.parse({"stems": ["vocals", "rest"], "mix": REST})
    assert two.what_matters()["mix"] == REST
    assert len({MusdbConfig().digest(), two.digest()}) == 2
    assert MusdbConfig.model_validate_json(two.model_dump_json()) == two
