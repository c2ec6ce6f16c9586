"""Manifests: rows go in and come back typed; a bad line is named."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.errors import ManifestError
from storage.manifests import read_rows, read_table, write_rows, write_table
from storage.records import Attribution, ChannelMap, LedgerRow, Track

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=20)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(st.tuples(TEXT, TEXT), max_size=5))
def test_rows_round_trip(tmp_path: Path, names: list[tuple[str, str]]) -> None:
    rows = [
        Track(id=f"{n:06d}", member="m", bytes=1, crc=2, artist=artist, title=title)
        for n, (artist, title) in enumerate(names)
    ]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(tmp_path / "rows.jsonl", Track) == rows


def test_a_title_may_hold_any_character(tmp_path: Path) -> None:
    rows = [Track(id="000002", member="m", bytes=1, crc=2, title="one\u2028two\x85three\x0b")]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(tmp_path / "rows.jsonl", Track) == rows


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"rows\.jsonl is missing"):
        read_rows(tmp_path / "rows.jsonl", Track)


@pytest.mark.parametrize("line", ["{", "{}", '{"track": "1", "outcome": "lost"}', "[]"])
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [LedgerRow(track="000002", outcome="kept")])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ManifestError, match="line 2 is no LedgerRow"):
        read_rows(path, LedgerRow)


def test_a_ledger_row_has_a_reason_or_is_kept() -> None:
    LedgerRow(track="1", outcome="filtered", reason="silent")
    for outcome, reason in (("kept", "silent"), ("quarantined", "")):
        with pytest.raises(ValidationError, match="a kept track has no reason"):
            LedgerRow.model_validate({"track": "1", "outcome": outcome, "reason": reason})


def test_a_channel_map_is_one_to_one() -> None:
    with pytest.raises(ValidationError, match="distinct"):
        ChannelMap(stems=("a", "b"), channels=(3, 3), votes=((1,), (1,)), chunks=2)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(
        st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=6, max_size=6),
        max_size=4,
    )
)
def test_tables_round_trip_whatever_they_hold(tmp_path: Path, texts: list[list[str]]) -> None:
    names = list(Attribution.model_fields)
    rows = [Attribution(**dict(zip(names, text, strict=True))) for text in texts]
    write_table(tmp_path / "rows.csv", Attribution, rows)
    assert read_table(tmp_path / "rows.csv", Attribution) == rows
    head = (tmp_path / "rows.csv").read_bytes().split(b"\r\n")[0]
    assert head == b"artist,title,licence,track,split,source"


@pytest.mark.parametrize("text", ["artist\nA\n", "a,b\n1,2\n", '"', "\xff"])
def test_what_is_no_table_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.csv"
    with pytest.raises(ManifestError, match=r"rows\.csv is missing"):
        read_table(path, Attribution)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ManifestError, match=r"rows\.csv is no table of Attribution rows"):
        read_table(path, Attribution)
