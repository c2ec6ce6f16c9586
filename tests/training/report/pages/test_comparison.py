"""A table's page: our rows beside the paper's, complete and whole; the same for machines."""

import json
from pathlib import Path

import pytest

from storage.config import Change
from storage.manifests import write_rows
from storage.records import SongScore
from tests.training.report.html_page import Page
from training.report import Lineage, write_comparison
from training.report.comparison import Comparison, Entry, find, summary
from training.report.pages.comparison import page as render
from training.report.stems import STEM_COLUMNS

SONGS = 12
NASTY = "<script>alert(1)</script> & \"x'"


def entry(folder: Path, variant: str, start: str, level: float) -> Entry:
    path = folder / f"{variant}-{start}.jsonl"
    scores = [
        SongScore(
            song=f"<song {song}>", stem=stem, usdr=level + song / 10, usdr_mdx21=level,
            csdr=level + 1, usdr_trivial=0.0,
        )
        for song in range(SONGS)
        for stem in STEM_COLUMNS
    ]  # fmt: skip
    write_rows(path, scores)
    value = {"variant": variant, "start": start, "seed": 0, "scores": path, "job_seconds": 3600}
    return Entry.model_validate(value)


def comparison(folder: Path, table: str, *variants: str) -> Comparison:
    entries = [
        entry(folder, variant, start, level)
        for number, variant in enumerate(variants)
        for start, level in (("from scratch", 5.0 + number), ("MixIT", 5.4 + number))
    ]
    return Comparison(
        study="mine",
        table=table,
        entries=tuple(entries),
        job_seconds=7200,
        differences=(Change("pretraining.loop.steps", 152850, 6),),
        recipe={"pretraining": {"loop": {"steps": 6}}},
    )


@pytest.mark.parametrize("table", ["table1", "table2", "table3", "mixit_gain"])
def test_a_page_is_whole_and_needs_no_other_file(tmp_path: Path, table: str) -> None:
    what = comparison(tmp_path, table, "small", "medium", "large")
    text = render(what, find(what))
    page = Page(text)
    assert not page.open
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert len(page.anchors) == len(set(page.anchors))
    for word in ("small, MixIT", "+0.40", "pretraining.loop.steps", "152850", "2.00 hours"):
        assert word in page.words
    assert ("BS-RoFormer" in page.words) == (table == "table1")
    assert ("Paper uSDR" in page.words) == (table != "mixit_gain")
    assert render(what, find(what)) == text


def test_the_papers_numbers_stand_in_the_rows_they_belong_to(tmp_path: Path) -> None:
    what = comparison(tmp_path, "table1", "small", "large", "huge")
    rows = {(row["variant"], row["start"]): row for row in summary(what, find(what))["rows"]}
    assert rows["small", "MixIT"]["paper"] == {"cSDR": 8.80, "uSDR": 8.59}
    assert rows["large", "from scratch"]["paper"] == {"cSDR": 9.58, "uSDR": 9.21}
    assert rows["huge", "MixIT"]["paper"] == {"cSDR": None, "uSDR": None}
    assert rows["small", "MixIT"]["scores"]["uSDR"]["average"] == pytest.approx(5.95)
    low, high = rows["small", "MixIT"]["scores"]["uSDR"]["average_95"]
    assert low < 5.95 < high


def test_every_scale_is_set_against_the_one_trained_from_scratch(tmp_path: Path) -> None:
    entries = (
        entry(tmp_path, "small", "from scratch", 5.0),
        entry(tmp_path, "small", "MixIT", 5.3),
        entry(tmp_path, "full", "MixIT", 5.6),
    )
    what = comparison(tmp_path, "table3").model_copy(update={"entries": entries})
    gains = {gain.name: gain.average for gain in find(what).gains}
    assert gains == {"small": pytest.approx(0.3), "full": pytest.approx(0.6)}


def test_files_say_the_same(tmp_path: Path) -> None:
    what = comparison(tmp_path, "mixit_gain", "seed-0", "seed-1")
    found = write_comparison(what, tmp_path / "out")
    value = json.loads((tmp_path / "out" / "mixit_gain.json").read_text())
    assert [gain["name"] for gain in value["gains"]] == ["seed-0", "seed-1", "All seeds"]
    assert value["gains"][-1]["average"] == pytest.approx(0.4)
    assert (
        found.gains[-1].sentence() in Page((tmp_path / "out" / "mixit_gain.html").read_text()).words
    )


def test_no_name_from_outside_is_ever_markup(tmp_path: Path) -> None:
    plain = comparison(tmp_path / "plain", "table1", "small")
    hostile = comparison(tmp_path / "hostile", "table1", "small")
    entries = tuple(
        one.model_copy(update={"variant": NASTY if number else one.variant})
        for number, one in enumerate(hostile.entries)
    )
    stage = Lineage(stage=NASTY, key=NASTY, digest=NASTY, seconds=1, facts={}, inputs={})
    hostile = hostile.model_copy(
        update={
            "study": NASTY,
            "entries": entries,
            "differences": (Change(NASTY, NASTY, NASTY),),
            "recipe": {NASTY: {NASTY: NASTY}},
            "lineage": (stage,),
        }
    )
    text, harmless = (render(one, find(one)) for one in (hostile, plain))
    page = Page(text)
    assert page.open == []
    assert "<script" not in text
    assert page.words.count(NASTY) > 12
    drawn = {"g", "rect", "svg", "title"}
    assert set(page.tags) <= set(Page(harmless).tags) | drawn


def test_other_stems_have_their_columns(tmp_path: Path) -> None:
    entries = []
    for start, level in (("from scratch", 1.0), ("MixIT", 3.0)):
        path = tmp_path / f"{start}.jsonl"
        scores = [
            SongScore(song=song, stem=stem, usdr=level, usdr_mdx21=level, csdr=level)
            for song in "xy"
            for stem in ("vocals", "rest")
        ]
        write_rows(path, scores)
        value = {"variant": "small", "start": start, "seed": 0, "scores": path, "job_seconds": 1}
        entries.append(Entry.model_validate(value))
    what = comparison(tmp_path, "mixit_gain").model_copy(update={"entries": tuple(entries)})
    found = find(what)
    assert found.gains[-1].average == pytest.approx(2.0)
    assert found.gains[-1].stems == (2.0, 2.0)
    row = summary(what, found)["rows"][0]["scores"]["uSDR"]
    assert row["vocals"] == row["rest"] == row["average"] == 1.0
    words = Page(render(what, found)).words
    assert "Rest" in words
    assert "Drums" not in words
