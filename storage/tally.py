"""How many tracks or songs were kept, filtered and quarantined, and why: one count for all uses."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field

from storage.config import Json
from storage.records import LedgerRow, Record

Outcome = Literal["kept", "filtered", "quarantined"]


class TallyRow(NamedTuple):
    """One line of a tally."""

    outcome: Outcome
    reason: str
    """Empty for what is kept."""
    number: int


class Tally(Record):
    """What became of some tracks or songs. Adding two tallies gives that of both."""

    kept: int = 0
    filtered: dict[str, int] = Field(default_factory=dict)
    """Left out on purpose, by reason."""
    quarantined: dict[str, int] = Field(default_factory=dict)
    """Failed, by reason."""

    @classmethod
    def of(cls, rows: Iterable[LedgerRow]) -> "Tally":
        """Count the rows of a ledger."""
        counts = Counter[tuple[Outcome, str]]((row.outcome, row.reason) for row in rows)
        return cls(
            kept=counts["kept", ""],
            filtered=_reasons(counts, "filtered"),
            quarantined=_reasons(counts, "quarantined"),
        )

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Tally":
        """Read the tally in a mark's facts or in a census; other facts are ignored.

        Marks of stems corpora count what is left out without reasons: these have the reason "".
        """
        return cls(
            kept=facts.get("kept", 0),
            filtered=_by_reason(facts.get("filtered", {})),
            quarantined=_by_reason(facts.get("quarantined", {})),
        )

    def as_facts(self) -> Json:
        """Return the counts as a mark's facts hold them, reasons in alphabetical order."""
        return {
            "kept": self.kept,
            "filtered": dict(sorted(self.filtered.items())),
            "quarantined": dict(sorted(self.quarantined.items())),
        }

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            kept=self.kept + other.kept,
            filtered=dict(Counter(self.filtered) + Counter(other.filtered)),
            quarantined=dict(Counter(self.quarantined) + Counter(other.quarantined)),
        )

    @property
    def left_out(self) -> int:
        """Return how many were filtered."""
        return sum(self.filtered.values())

    @property
    def failed(self) -> int:
        """Return how many were quarantined."""
        return sum(self.quarantined.values())

    @property
    def total(self) -> int:
        """Return how many there are."""
        return self.kept + self.left_out + self.failed

    def rows(self) -> Iterator[TallyRow]:
        """Yield the kept, then each reason in alphabetical order."""
        yield TallyRow("kept", "", self.kept)
        for reason, count in sorted(self.filtered.items()):
            yield TallyRow("filtered", reason, count)
        for reason, count in sorted(self.quarantined.items()):
            yield TallyRow("quarantined", reason, count)


def _reasons(counts: Mapping[tuple[Outcome, str], int], outcome: Outcome) -> dict[str, int]:
    return {reason: count for (each, reason), count in sorted(counts.items()) if each == outcome}


def _by_reason(counts: int | Mapping[str, int]) -> dict[str, int]:
    if isinstance(counts, int):
        return {"": counts} if counts else {}
    return dict(counts)
