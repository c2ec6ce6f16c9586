"""A tally counts every row once, adds up, and reads the facts of old marks."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from storage.records import LedgerRow
from storage.tally import Tally, TallyRow

OUTCOMES = st.sampled_from(
    [("kept", ""), ("filtered", "mono"), ("filtered", "silent"), ("quarantined", "empty")]
)


def row(outcome: str, reason: str) -> LedgerRow:
    return LedgerRow.model_validate({"track": "1", "outcome": outcome, "reason": reason})


@given(st.lists(OUTCOMES), st.lists(OUTCOMES))
def test_it_counts_and_adds(first: list[tuple[str, str]], second: list[tuple[str, str]]) -> None:
    tally = Tally.of(row(*each) for each in first) + Tally.of(row(*each) for each in second)
    counted = Counter(first + second)
    assert tally.total == len(first) + len(second)
    assert tally.failed == counted["quarantined", "empty"]
    found = {(each.outcome, each.reason): each.number for each in tally.rows() if each.number}
    assert found == dict(counted)
    assert Tally.from_facts(tally.as_facts()) == tally


def test_facts_of_marks_are_read() -> None:
    facts = {"tracks": 6, "kept": 2, "filtered": {"mono": 1}, "quarantined": {"empty": 3}}
    tally = Tally.from_facts(facts)
    assert tally.as_facts() == {name: facts[name] for name in ("kept", "filtered", "quarantined")}
    assert (tally.left_out, tally.failed, tally.total) == (1, 3, 6)
    stems = Tally.from_facts({"train": 80, "filtered": 4, "quarantined": 0})
    assert (stems.left_out, stems.failed) == (4, 0)
    assert list(stems.rows()) == [TallyRow("kept", "", 0), TallyRow("filtered", "", 4)]
    assert Tally.from_facts({}).total == 0


def test_reasons_are_in_alphabetical_order() -> None:
    tally = Tally(filtered={"silent": 1, "mono": 2})
    assert list(tally.as_facts()["filtered"]) == ["mono", "silent"]
    assert [each.reason for each in tally.rows()] == ["", "mono", "silent"]
