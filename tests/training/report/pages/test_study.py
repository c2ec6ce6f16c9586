"""The page: complete, self-contained, escaped, the same twice."""

import base64
import io
import re
from pathlib import Path

import pytest
import soundfile

from storage.errors import ManifestError
from storage.files import write_json
from storage.manifests import write_rows
from storage.records import SongScore
from tests.training.report.html_page import Page
from tests.training.report.study_material import RATE, SONG, excerpts, hostile, material
from training.report import Curve, Material, Row, write_report


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a full page, written twice and found the same."""
    root = tmp_path_factory.mktemp("report")
    given = material(root)
    write_report(given, root / "first.html")
    write_report(given, root / "second.html")
    assert (root / "first.html").read_bytes() == (root / "second.html").read_bytes()
    return (root / "first.html").read_text()


def test_the_page_needs_no_other_file(text: str) -> None:
    page = Page(text)
    assert page.open == []
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_links_inside_the_page_lead_somewhere(text: str) -> None:
    page = Page(text)
    inside = [address[1:] for address in page.addresses if address.startswith("#")]
    clips = re.findall(r"url\(#([^)]*)\)", text)
    assert {*inside, *clips} <= set(page.anchors)
    assert len(page.anchors) == len(set(page.anchors))


def test_text_is_escaped(text: str) -> None:
    assert "<script" not in text
    assert SONG in Page(text).words
    assert "<title>Demo &amp; &lt;more&gt; – Stemworks</title>" in text


def test_no_name_from_outside_is_ever_markup(tmp_path: Path, text: str) -> None:
    """As many tags, and the same ones, as of harmless names; every attribute whole."""
    material = hostile(tmp_path)
    write_report(material, tmp_path / "page.html")
    found = (tmp_path / "page.html").read_text()
    page = Page(found)
    assert page.open == []
    assert "<script" not in found
    assert set(page.tags) <= set(Page(text).tags)
    # Title, scores, legend, songs, players, curves, votes, census, card, stages, recipe.
    assert page.words.count(SONG) > 40
    assert page.attributes <= Page(text).attributes, "a name has left its attribute"


def test_the_page_says_what_was_found(text: str) -> None:
    words = Page(text).words
    for expected in (
        "MixIT, then fine-tuning: uSDR 4.50 dB against 1.00 dB for mixture / 4",
        "MixIT, then fine-tuning against from scratch: +2.00 dB uSDR, on 2 songs.",
        "So few songs are an illustration",
        "not comparable to a demo",
        "Every track is accounted for: 17 in = 10 kept + 4 filtered + 3 quarantined.",
        "rate below 44100",
        "0.12",
        "Level of a track",
        "10 or more: 3.00 h",
        "best validation loss −1.50 at step 20",
        "loss -9.123, steps 8,000",
        "1 h 02 min",
        "betas",
        "0.9, 0.99",
        "mixture / 4",
        "9.46",
        "–",
    ):
        assert expected in words


def test_the_chosen_outputs_are_marked(text: str) -> None:
    assert text.count('class="chosen"') == 4
    assert 'class="chosen" title="7 of 10 chunks"' in text


def test_excerpts_can_be_heard(text: str) -> None:
    found = re.findall(r'src="data:audio/flac;base64,([^"]*)"', text)
    # Two songs: each the mixture, four references and four estimates of each model that has them.
    assert len(found) == 13 + 9
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(found[0])))
    assert rate == RATE
    assert sound.shape == (RATE // 2, 2)
    assert text.count("data:image/png;base64,") == len(found)


def test_nothing_yet_still_makes_a_page(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    given = Material(
        title="Nothing yet",
        study={},
        rows=(Row(name="ours", scores=nowhere, excerpts=nowhere),),
        curves=(Curve(name="run", metrics=nowhere),),
        census=nowhere,
        channels=nowhere,
    )
    write_report(given, tmp_path / "full.html")
    write_report(Material(title="Empty", study={}), tmp_path / "empty.html")
    for name in ("full.html", "empty.html"):
        page = Page((tmp_path / name).read_text())
        assert page.open == []
        assert "No song has been scored yet." in page.words
    assert "ours: no uSDR to compare with" in Page((tmp_path / "full.html").read_text()).words


def test_sections_that_a_study_has_nothing_for_are_left_out(tmp_path: Path) -> None:
    write_report(Material(title="", study={}, without=("archive",)), tmp_path / "page.html")
    page = Page((tmp_path / "page.html").read_text())
    assert "archive" not in page.anchors
    assert "#archive" not in page.addresses
    assert "channels" in page.anchors


def test_single_points_and_scores_without_the_trivial_estimate_are_drawn(tmp_path: Path) -> None:
    write_rows(
        tmp_path / "one.jsonl",
        [SongScore(song="x", stem="bass", usdr=2.0, usdr_mdx21=None, csdr=None)],
    )
    (tmp_path / "one-step.jsonl").write_text('{"kind": "train", "step": 1, "loss": 2}\n')
    given = Material(
        title="One",
        study={},
        rows=(Row(name="ours", scores=tmp_path / "one.jsonl"),),
        curves=(Curve(name="run", metrics=tmp_path / "one-step.jsonl"),),
    )
    write_report(given, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("<svg") == 5


def test_a_study_of_other_stems(tmp_path: Path) -> None:
    stems = ("vocals", "rest")
    rows = [
        SongScore(
            song="x", stem=stem, usdr=4.0, usdr_mdx21=4.0, csdr=5.0, usdr_trivial=1.0, si_sdr=2.0
        )
        for stem in stems
    ]
    write_rows(tmp_path / "scores.jsonl", rows)
    votes = {"stems": stems, "channels": [1, 0], "votes": [[0, 1], [1, 0]], "chunks": 1}
    write_json(tmp_path / "channels.json", votes)
    folder = excerpts(tmp_path / "sounds", ["x"])
    for kind in ("", "-reference"):
        (folder / "0" / f"bass{kind}.flac").rename(folder / "0" / f"rest{kind}.flac")
    given = Material(
        title="Two stems",
        study={"finetuning": {}, "evaluation": {"stems": stems}},
        rows=(Row(name="ours", scores=tmp_path / "scores.jsonl", excerpts=folder),),
        channels=tmp_path / "channels.json",
    )
    write_report(given, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    page = Page(text)
    assert page.open == []
    assert "ours: uSDR 4.00 dB against 1.00 dB for mixture / 2" in page.words
    assert "into vocals and rest, at 44.1 kHz" in page.words
    assert "[batch, 2, 2, samples] out, the stems in the order vocals, rest" in page.words
    assert "Drums" not in page.words
    assert "BS-Locoformer" not in page.words, "the published table is of four stems"
    assert text.count("var(--stem-1)") > text.count("var(--stem-2)") == 0
    assert text.count("data:audio/flac") == 1 + 2 * 2
    assert text.count("<svg") == 2


def test_a_file_that_is_something_else_is_named(tmp_path: Path) -> None:
    write_json(tmp_path / "bad.json", [1])
    for part in ("census", "channels"):
        given = Material.model_validate({"title": "", "study": {}, part: tmp_path / "bad.json"})
        with pytest.raises(ManifestError, match=r"bad\.json"):
            write_report(given, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_census_that_does_not_add_up_is_reported(tmp_path: Path) -> None:
    write_json(tmp_path / "census.json", {"tracks_in": 5, "kept": 3})
    given = Material(title="", study={}, census=tmp_path / "census.json")
    write_report(given, tmp_path / "page.html")
    assert "The sums do not agree: 5 in" in (tmp_path / "page.html").read_text()
