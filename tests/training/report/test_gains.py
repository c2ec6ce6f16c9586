"""Gains: paired by song, averaged over seeds, with intervals that claim neither more nor less."""

import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.records import SongScore
from training.report import published_scores
from training.report.gains import PAPER_GAINS, Pairing, gain_of, paper_gain
from training.report.stems import STEM_COLUMNS

SCORES = st.floats(-20, 20)


def songs(values: Sequence[Sequence[float | None]]) -> list[SongScore]:
    """Return scores of as many songs as rows, a value a stem."""
    return [
        SongScore(song=f"song {number:03d}", stem=stem, usdr=value, usdr_mdx21=None, csdr=None)
        for number, row in enumerate(values)
        for stem, value in zip(STEM_COLUMNS, row, strict=True)
    ]


def by_hand(tuned: Sequence[SongScore], scratch: Sequence[SongScore]) -> float:
    """Return the mean over stems of the mean over songs of the difference in uSDR."""
    other = {(score.song, score.stem): score.usdr for score in scratch}
    stems = []
    for stem in STEM_COLUMNS:
        pairs = [(one.usdr, other[one.song, stem]) for one in tuned if one.stem == stem]
        known = [a - b for a, b in pairs if a is not None and b is not None]
        stems.append(sum(known) / len(known))
    return sum(stems) / len(stems)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.lists(SCORES, min_size=8, max_size=8), min_size=2, max_size=6))
def test_the_gain_is_the_paired_difference(rows: list[list[float]]) -> None:
    tuned, scratch = songs([row[:4] for row in rows]), songs([row[4:] for row in rows])
    gain = gain_of("one", [Pairing("one", tuned, scratch)])
    back = gain_of("one", [Pairing("one", scratch, tuned)])
    assert gain.songs == len(rows)
    assert gain.average == pytest.approx(by_hand(tuned, scratch), abs=1e-9)
    assert back.average == pytest.approx(-by_hand(tuned, scratch), abs=1e-9)
    assert gain.ends is not None
    assert gain.average is not None
    assert gain.ends[0] - 1e-9 <= gain.average <= gain.ends[1] + 1e-9
    assert gain.spread is None


def test_a_constant_gain_is_certain_however_songs_differ() -> None:
    """The differences are paired: what songs differ by says nothing of the gain."""
    base = [[float(3 * song + stem) for stem in range(4)] for song in range(12)]
    more = [[value + 0.4 for value in row] for row in base]
    gain = gain_of("constant", [Pairing("one", songs(more), songs(base))])
    assert gain.average == pytest.approx(0.4)
    assert gain.ends == pytest.approx((0.4, 0.4))
    assert gain.sentence().endswith("The interval lies above zero.")
    assert (
        gain_of("less", [Pairing("one", songs(base), songs(more))])
        .sentence()
        .endswith("The interval lies below zero: here pre-training costs more than it gives.")
    )


def test_seeds_are_averaged_and_their_spread_told() -> None:
    base = songs([[0.0] * 4] * 12)
    pairings = [Pairing(str(gain), songs([[gain] * 4] * 12), base) for gain in (0.1, 0.4, 0.7)]
    found = gain_of("seeds", pairings)
    assert found.average == pytest.approx(0.4)
    assert found.spread == pytest.approx(statistics.stdev([0.1, 0.4, 0.7]))
    assert found.ends == pytest.approx((0.4, 0.4))
    assert "standard deviation over seeds of 0.30 dB" in found.sentence()


def test_gains_of_any_stems() -> None:
    def of(level: float) -> list[SongScore]:
        return [
            SongScore(song=song, stem=stem, usdr=level, usdr_mdx21=None, csdr=None)
            for song in "xy"
            for stem in ("vocals", "rest")
        ]

    gain = gain_of("two", [Pairing("two", of(3.0), of(1.0))])
    assert gain.stems == (2.0, 2.0)
    assert gain.average == 2.0


def test_a_silent_stem_of_one_song_counts_for_no_one() -> None:
    base = songs([[1.0, 2, 3, 4]] * 3)
    more = songs([[2.0, 3, 4, 5], [2, None, 4, 5], [2, 3, 4, 5]])
    assert gain_of("gaps", [Pairing("one", more, base)]).stems == pytest.approx((1, 1, 1, 1))


def test_few_songs_are_no_evidence() -> None:
    gain = gain_of("few", [Pairing("one", songs([[1.0] * 4] * 3), songs([[0.0] * 4] * 3))])
    assert "illustration, not evidence" in gain.sentence()
    none = gain_of("none", [Pairing("one", songs([[1.0] * 4]), [])])
    assert none.average is None
    assert "no difference yet" in none.sentence()


def test_the_papers_gains_are_its_tables() -> None:
    average = {row.id: row.average.usdr for row in published_scores.TABLE_1}
    gains = [average[f"{size}2"] - average[f"{size}1"] for size in "SML"]
    assert sorted(PAPER_GAINS) == pytest.approx(sorted(gains))


def test_a_gain_stands_beside_the_papers_of_its_own_table() -> None:
    assert paper_gain("table1", "medium") == pytest.approx((0.55, 0.55))
    assert paper_gain("table2", "medium") == pytest.approx((7.27 - 3.68, 7.27 - 3.68))
    assert paper_gain("table3", "small") == pytest.approx((0.33, 0.33))
    assert paper_gain("mixit_gain", "seed-0") == (0.31, 0.55)
    assert paper_gain("table1", "tiny") is None
    pairing = Pairing("one", songs([[1.0] * 4] * 3), songs([[0.0] * 4] * 3))
    assert "the paper has +0.31 to +0.55 dB" in gain_of("a", [pairing], (0.31, 0.55)).sentence()
    assert "the paper has +0.33 dB" in gain_of("b", [pairing], (0.33, 0.33)).sentence()
    assert "the paper" not in gain_of("c", [pairing]).sentence()


def test_published_averages_are_the_means_of_their_stems() -> None:
    for row in published_scores.TABLE_1:
        for metric in ("csdr", "usdr"):
            stems = [getattr(getattr(row, stem), metric) for stem in STEM_COLUMNS]
            assert getattr(row.average, metric) == pytest.approx(
                statistics.fmean(stems), abs=0.0101
            )


@pytest.mark.parametrize("table", ["table1", "table2"])
@pytest.mark.parametrize("size", published_scores.SIZES)
def test_published_rows_stand_beside_ours(table: str, size: str) -> None:
    scratch, tuned = (
        published_scores.beside(table, size, start) for start in ("from scratch", "MixIT")
    )
    for before, after in zip(scratch, tuned, strict=True):
        assert before is not None
        assert after is not None
        assert before < after
    assert published_scores.beside(table, "gigantic", "MixIT") == (None, None)


def test_the_third_table_starts_where_the_first_does() -> None:
    medium = published_scores.beside("table1", "medium", "from scratch")[1]
    assert published_scores.beside("table3", "small", "from scratch") == (None, medium)
    large = published_scores.beside("table1", "medium", "MixIT")[1]
    assert published_scores.beside("table3", "large", "MixIT") == (None, large)
