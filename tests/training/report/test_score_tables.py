"""The tables against numbers computed by hand."""

import math
import subprocess
import sys

import pytest

from storage.records import STEMS, SongScore
from training.report import ScoreTable, gain_line, gain_over_trivial, score_table
from training.report.published_scores import TABLE_1, records
from training.report.score_tables import ScoreLine, trivial_name
from training.report.stems import STEM_COLUMNS


def score(song: str, stem: str, usdr: float | None, trivial: float | None = 1.0) -> SongScore:
    """Return a score whose other metrics lie 1 and 2 dB above uSDR."""
    return SongScore(
        song=song,
        stem=stem,
        usdr=usdr,
        usdr_mdx21=None if usdr is None else usdr + 1,
        csdr=None if usdr is None else usdr + 2,
        usdr_trivial=trivial,
    )


TRIVIAL = "mixture / 4"
SONGS = [
    score(song, stem, usdr)
    for stem, values in {
        "vocals": (1.0, 2.0, 6.0),
        "bass": (2.0, 3.0, 7.0),
        "drums": (3.0, 4.0, 8.0),
        "other": (4.0, 5.0, 9.0),
    }.items()
    for song, usdr in zip("xyz", values, strict=True)
]


def line(table: ScoreTable, model: str, metric: str) -> ScoreLine:
    """Return a line that must be there."""
    found = table.line(model, metric)
    assert found is not None
    return found


def test_the_columns_are_the_four_stems() -> None:
    assert set(STEM_COLUMNS) == set(STEMS)


def test_usdr_is_the_mean_and_csdr_the_median_over_songs() -> None:
    table = score_table([("ours", SONGS)])
    assert line(table, "ours", "uSDR").stems == (3.0, 4.0, 5.0, 6.0)
    assert line(table, "ours", "uSDR").average == 4.5
    assert line(table, "ours", "uSDR (MDX21)").stems == (4.0, 5.0, 6.0, 7.0)
    assert line(table, "ours", "cSDR").stems == (4.0, 5.0, 6.0, 7.0)
    assert line(table, "ours", "cSDR").average == 5.5
    assert line(table, TRIVIAL, "uSDR").average == 1.0
    assert table.line("ours", "museval") is None


def test_an_even_number_of_songs_averages_the_two_middle_ones() -> None:
    two = [each for each in SONGS if each.song != "z"]
    assert line(score_table([("ours", two)]), "ours", "cSDR").stems[0] == 3.5


def test_the_trivial_estimate_counts_each_song_once() -> None:
    first = [score("x", stem, 3.0, 0.0) for stem in STEM_COLUMNS]
    second = [
        score(song, stem, 3.0, 0.0 if song == "x" else 3.0) for song in "xy" for stem in STEMS
    ]
    table = score_table([("a", first), ("b", second)])
    assert line(table, TRIVIAL, "uSDR").stems == (1.5, 1.5, 1.5, 1.5)
    assert line(table, TRIVIAL, "uSDR").songs == 2


def test_undefined_scores_are_left_out_and_an_undefined_stem_leaves_no_average() -> None:
    some = [*SONGS, score("silent", "vocals", None, None), score("perfect", "bass", math.inf)]
    assert line(score_table([("ours", some)]), "ours", "uSDR").stems == (3.0, 4.0, 5.0, 6.0)
    no_vocals = [each for each in SONGS if each.stem != "vocals"]
    found = line(score_table([("ours", no_vocals)]), "ours", "uSDR")
    assert found.stems[0] is None
    assert found.average is None


def test_museval_gets_a_line_where_it_was_asked_for() -> None:
    asked = [each.model_copy(update={"museval": 7.0}) for each in SONGS]
    assert line(score_table([("ours", asked)]), "ours", "museval").average == 7.0


def with_stems(*stems: str) -> list[SongScore]:
    """Return two songs' scores of any stems, uSDR 3 and 5 dB, 1 dB for the trivial estimate."""
    return [score(song, stem, usdr) for song, usdr in (("x", 3.0), ("y", 5.0)) for stem in stems]


@pytest.mark.parametrize("stems", [("vocals", "rest"), ("bass", "guitar", "lead_vocals"), ("a",)])
def test_any_stems_are_summed_up(stems: tuple[str, ...]) -> None:
    table = score_table([("ours", with_stems(*stems))], with_ends=True)
    assert table.stems == stems
    found = line(table, "ours", "uSDR")
    assert found.stems == (4.0,) * len(stems)
    assert found.average == 4.0
    assert len(found.ends) == len(stems) + 1
    trivial = f"mixture / {len(stems)}"
    assert trivial_name(stems) == trivial
    assert line(table, trivial, "uSDR").average == 1.0
    assert f"against 1.00 dB for {trivial}" in gain_line("Ours", with_stems(*stems))
    assert gain_over_trivial(with_stems(*stems)) == pytest.approx(3.0)
    assert table.headers[2:-2] == [name.replace("_", " ").capitalize() for name in stems]
    assert set(stems) <= table.records()[0].keys()


def test_a_configured_stem_without_scores_shows_as_missing() -> None:
    table = score_table([("ours", with_stems("vocals"))], stems=("rest", "vocals"))
    assert table.stems == ("vocals", "rest")
    assert line(table, "ours", "uSDR").stems == (4.0, None)
    assert line(table, "ours", "uSDR").average is None
    assert table.rows[-1][0] == "mixture / 2"


def test_no_rows_make_an_empty_table() -> None:
    assert score_table([]).rows == []
    assert score_table([("nothing yet", [])]).rows[0][2:] == ["–"] * 5


def test_markdown_rows_and_records_agree() -> None:
    table = score_table([("a | b", SONGS)])
    lines = table.markdown().splitlines()
    assert lines[0] == "| Model | Metric | Vocals | Bass | Drums | Other | Average |"
    assert lines[3] == "| a \\| b | uSDR | 3.00 | 4.00 | 5.00 | 6.00 | 4.50 |"
    assert len(lines) == 2 + len(table.rows)
    assert {len(row) for row in table.rows} == {len(table.headers)}
    assert table.records()[1] == {
        "model": "a | b",
        "metric": "uSDR",
        "vocals": 3.0,
        "bass": 4.0,
        "drums": 5.0,
        "other": 6.0,
        "average": 4.5,
        "songs": 3,
    }


def test_the_gain_is_said_as_it_is() -> None:
    assert gain_over_trivial(SONGS) == pytest.approx(3.5)
    assert gain_line("Fine-tuned separator", SONGS) == (
        "Fine-tuned separator: uSDR 4.50 dB against 1.00 dB for mixture / 4, averaged over the "
        "stems: +3.50 dB (target: at least +1 dB: met)"
    )


def test_a_missed_target_is_said_to_be_missed() -> None:
    poor = [score("x", stem, 0.5) for stem in STEM_COLUMNS]
    assert gain_over_trivial(poor) == pytest.approx(-0.5)
    assert gain_line("Poor", poor).endswith("−0.50 dB (target: at least +1 dB: not met)")


def test_the_gain_compares_the_same_songs() -> None:
    unpaired = [score("w", stem, 100.0, None) for stem in STEM_COLUMNS]
    assert gain_over_trivial([*SONGS, *unpaired]) == pytest.approx(3.5)


def test_no_scores_have_no_gain() -> None:
    assert math.isnan(gain_over_trivial([]))
    assert gain_line("Later", []) == "Later: no uSDR to compare with mixture / 4 yet."


def test_the_published_averages_are_the_means_of_the_published_stems() -> None:
    # The paper rounds after averaging, so up to a unit of the second decimal is lost.
    for row in TABLE_1:
        stems = [row.vocals, row.bass, row.drums, row.other]
        assert sum(pair.csdr for pair in stems) / 4 == pytest.approx(row.average.csdr, abs=0.011)
        assert sum(pair.usdr for pair in stems) / 4 == pytest.approx(row.average.usdr, abs=0.011)


def test_a_command_that_prints_a_table_loads_no_drawing_library() -> None:
    program = (
        "import sys, training.report; "
        "print(sorted({'torch', 'matplotlib', 'librosa', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_published_rows_average_their_stems() -> None:
    for row in records():
        stems = [float(row[f"{stem} uSDR"]) for stem in ("vocals", "bass", "drums", "other")]
        assert abs(sum(stems) / 4 - float(row["average uSDR"])) < 0.011, row


def test_intervals_are_asked_for_and_hold_the_number() -> None:
    plain, sure = (score_table([("ours", SONGS)], with_ends=ends) for ends in (False, True))
    assert "95 %" not in plain.headers
    assert sure.headers == [*plain.headers, "95 %"]
    assert [row[:-1] for row in sure.rows] == plain.rows
    for metric in ("cSDR", "uSDR", "uSDR (MDX21)"):
        found = line(sure, "ours", metric)
        assert len(found.ends) == len(STEM_COLUMNS) + 1
        for value, ends in zip((*found.stems, found.average), found.ends, strict=True):
            assert value is not None
            assert ends is not None
            assert ends[0] <= value <= ends[1]
    # Three songs, drawn again: the mean lies between the least and the greatest.
    ends = line(sure, "ours", "uSDR").ends[-1]
    assert ends is not None
    assert ends == pytest.approx((2.5, 7.5))
    assert sure.records()[0].keys() >= {"average_low", "average_high"}
    assert "average_low" not in plain.records()[0]


def test_one_song_is_sure_of_nothing() -> None:
    table = score_table([("ours", [one for one in SONGS if one.song == "x"])], with_ends=True)
    assert line(table, "ours", "uSDR").ends == (None,) * 5
    assert table.rows[0][-1] == "–"


def test_si_sdr_has_a_line_where_it_is_known() -> None:
    assert score_table([("ours", SONGS)]).line("ours", "SI-SDR") is None
    known = [one.model_copy(update={"si_sdr": 3.0}) for one in SONGS]
    assert line(score_table([("ours", known)]), "ours", "SI-SDR").average == 3.0
