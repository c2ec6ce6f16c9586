"""The run card and its pictures: told from what is known, whatever that is."""

import base64
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.stage_id import PackId, Role, StageId
from flows.ui import svg, training_page
from flows.ui.progress import StageProgress
from flows.ui.run_card import RunCard, census_of, census_rows, closed, gpu_hours
from storage.config import Json
from storage.home.marks import Mark
from storage.home.runs import Run

PRETRAIN, CENSUS = StageId("pretrain"), StageId("census")
NUMBERS = st.floats(-1e9, 1e9)


def mark(stage: str, key: str = "k", seconds: float = 1.0, **facts: Any) -> Mark:
    return Mark(
        stage=stage, version=1, key=key, config={}, inputs={}, outputs=(), digest=f"{stage}{key}",
        facts=facts, seconds=seconds, built_by={}, finished="2026-01-01T00:00:00Z",
    )  # fmt: skip


def pictured(markdown: str) -> list[ElementTree.Element]:
    """Return every picture of a page, parsed."""
    codes = re.findall(r"!\[[^]]*\]\(data:image/svg\+xml;base64,([^)]+)\)", markdown)
    return [ElementTree.fromstring(base64.b64decode(code)) for code in codes]


def packed(unit: str, **facts: Any) -> tuple[StageId, StageProgress]:
    known = {"tracks": 2, "kept": 1, "clips": 3, "hours": 0.5, "filtered": {}, "quarantined": {}}
    made = mark("pack", unit, 3600.0, **(known | facts))
    return PackId.batch([unit]), StageProgress(Role.PACKING, "done", mark=made)


def test_while_it_runs() -> None:
    progress = dict(
        [
            packed("0000", filtered={"silent": 1}),
            packed("0001", filtered={"silent": 1}, quarantined={"truncated": 1}),
            (PRETRAIN, StageProgress(share=0.25, note="loss -3 | eta 5m")),
        ]
    )
    batches = [PackId.batch([f"000{unit}"]) for unit in range(3)]
    stages = [StageId("plan fma"), *batches, PRETRAIN]
    text = RunCard("study x", "running", stages, progress).markdown()
    assert "| packing | running | 2 h 00 min | 2 of 3 tasks |" in text
    assert "pack 0001" not in text, "a corpus has hundreds of them"
    assert r"| pretrain | running, 25% |  | loss -3 \| eta 5m |" in text
    assert "| plan fma | waiting | | |" in text
    assert "4 tracks in, 2 kept, 6 clips, 1.00 h. Dropped: 2 silent, 1 truncated." in text
    assert len(pictured(text)) == 1
    facts = census_of(progress)
    assert [row["tracks"] for row in census_rows(facts)] == [2, 2, 1]


def test_the_census_takes_the_place_of_what_was_counted_so_far() -> None:
    facts: Json = {
        "tracks_in": 9,
        "kept": 9,
        "filtered": {},
        "quarantined": {},
        "clips": 1,
        "hours": 1.0,
    }
    progress = dict(
        [packed("0000"), (CENSUS, StageProgress(Role.CENSUS, "done", mark=mark("census", **facts)))]
    )
    assert census_of(progress) == facts
    assert census_of({}) == {}


def test_what_was_measured_is_drawn() -> None:
    level = {"words": "Level", "edges": [0, 10], "hours": [0.5, 0.0, 2.0]}
    facts: Json = {
        "tracks_in": 3,
        "kept": 2,
        "filtered": {"mono": 1},
        "clips": 9,
        "hours": 2.0,
        "hours_lost": {"mono": 0.5},
        "measures": {"level": level, "other": {**level, "hours": [0.0] * 3}},
    }
    made = mark("census", **facts)
    text = RunCard(
        "a", "running", [CENSUS], {CENSUS: StageProgress(Role.CENSUS, "done", mark=made)}
    ).markdown()
    hours, levels = ["".join(picture.itertext()) for picture in pictured(text)]
    assert "mono" in hours
    assert all(word in levels for word in ("Level", "below 0", "10 or more", "2 h"))
    assert [row["hours"] for row in census_rows(facts)] == [2.0, 0.5]


def test_when_it_fails() -> None:
    progress = {
        CENSUS: StageProgress(Role.CENSUS, "failed", note="3 of 4 tracks\nare quarantined"),
        StageId("plan fma"): StageProgress(state="cached", mark=mark("plan-fma")),
    }
    text = RunCard("study x", "failed", list(progress), progress, error="stage failed").markdown()
    assert "## study x: failed" in text
    assert "- **census**: 3 of 4 tracks are quarantined" in text
    assert "only the rest is done" in text
    early = RunCard("study x", "failed", [], {}, error="the name is taken").markdown()
    assert "- the name is taken" in early


def test_when_its_process_has_died() -> None:
    """Nothing runs any more, and what is done stays done."""
    progress = dict(
        [
            packed("0000"),
            (StageId("unpack musdb"), StageProgress(state="cached", mark=mark("unpack"))),
            (StageId("detect activity"), StageProgress(note="running | running, 5%")),
            (PRETRAIN, StageProgress(share=0.4, note="loss -3")),
        ]
    )
    stages: list[StageId] = [PackId.batch(["0000"]), PackId.batch(["0001"])]
    stages += map(StageId, ("unpack musdb", "detect activity", "pretrain", "finetune"))
    card = RunCard("study running: x", "running", stages, progress, scores="| running |")
    text = closed(card.markdown(), "crashed", "Its process has died. Resume with: run --set a=[1]")
    lines = text.splitlines()
    assert lines[0] == "## study running: x: crashed"
    assert lines[2] == r"Its process has died. Resume with: run --set a=\[1]"
    assert "| packing | crashed | 1 h 00 min | 1 of 2 tasks |" in lines
    assert "| pretrain | crashed, 40% |  | loss -3 |" in lines
    assert r"| detect activity | crashed, 0% |  | running \| running, 5% |" in lines
    for untouched in ("unpack musdb", "finetune"):
        [row] = [line for line in lines if line.startswith(f"| {untouched} |")]
        assert row in card.markdown().splitlines()
    assert pictured(text), "what was drawn stays"
    assert closed(text, "stopped", "again") == text, "it has said how it ended"


@pytest.mark.parametrize("state", ["done", "failed", "stopped"])
def test_a_card_that_says_how_it_ended_stays(state: Any) -> None:
    progress = {PRETRAIN: StageProgress(share=0.4)}
    text = RunCard("study x", state, [PRETRAIN], progress, error="why").markdown()
    assert closed(text, "crashed", "Its process has died.") == text


def test_a_strangers_names_are_no_markup() -> None:
    hostile = "song '<iframe src=//x> ![](http://x/y) [here](http://x) |' is damaged"
    noted = {StageId("a"): StageProgress(state="failed", note=hostile)}
    for failed in (
        RunCard("x", "failed", list(noted), noted),
        RunCard("x", "failed", [], {}, error=hostile),
    ):
        text = failed.markdown()
        assert "<iframe" not in text
        assert not re.search(r"(?<!\\)\[", text)


def test_gpu_hours_count_processes_and_each_job_once() -> None:
    jobs = [
        mark("train", "a", 1800.0, processes=8),
        mark("train", "a", 1800.0, processes=8),
        mark("evaluate", "b", 3600.0),
        mark("pack", "c", 7200.0),
    ]
    assert gpu_hours(jobs) == pytest.approx(8 * 0.5 + 1)


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=600), st.text(max_size=20))
def test_any_numbers_make_a_picture(points: list[tuple[float, float]], name: str) -> None:
    printable = "".join(one for one in name if one.isprintable())
    text = svg.curves(printable, {printable: sorted(points), "none": []})
    assert len(pictured(text)) == bool(points)
    lines = [one for picture in pictured(text) for one in picture.iter() if "points" in one.attrib]
    for line in lines:
        places = [place.split(",") for place in line.attrib["points"].split()]
        assert 0 < len(places) <= svg.MOST_POINTS
        assert all(0 <= float(x) <= svg.WIDTH for x, _ in places)
        assert all(0 <= float(y) <= svg.HEIGHT for _, y in places)


def test_thinning_keeps_the_mean() -> None:
    points = [(float(x), float(x % 7)) for x in range(svg.MOST_POINTS * 6)]
    thin = svg.thinned(points)
    assert len(thin) == svg.MOST_POINTS
    assert thin[-1][0] == points[-1][0]
    assert sum(y for _, y in thin) * 6 == pytest.approx(sum(y for _, y in points))


def test_a_training_job_as_it_goes(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert training_page.page("pretrain", run) == ""
    rows = [
        f'{{"kind":"train","step":{step},"steps":40,"loss":{-step},"lr":1e-4,"grad_norm":2.5,'
        f'"examples_per_second":12.5,"data_wait":0.01,"snr_louder":3.25,"effective_sources":3.9,'
        f'"eta_seconds":7200}}'
        for step in range(1, 21)
    ]
    rows.append('{"kind":"validation","step":20,"steps":40,"loss":-19.5,"seconds":3}')
    run.metrics.write_text("\n".join([*rows, '{"kind":"tra']))
    text = training_page.page("pretrain", run)
    assert text.startswith("**pretrain:** step 20 of 40 (50%), about 2.0 h to go")
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert "effective sources" in table[0]
    assert "GPU memory" not in table[0], "on a CPU there is none"
    assert len(table) == 2 + training_page.LAST, "its heading, the rule under it, the last rows"
    assert "| 20 | -20.00 | 3.25 | 2.5 | 1.00e-04 | 12.5 | 1.0% | 3.90 |" in text
    assert len(pictured(text)) == 1
