"""The stored form of a benchmark's figures: every round's, never a summary.

Medians, ratios and verdicts are computed from them wherever they are shown, so that no page can
disagree with the file.
"""

from datetime import datetime
from statistics import median
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from storage.records import Record

FORM: Final = 1
"""Raised when a file of before can no longer be read."""

Role = Literal["ours", "plain", "library", "floor", "other"]
"""`plain` is the literal transcription, `library` what one would otherwise take, `floor` what no
code can do without; `other` is another setting, or a part of the work."""
Clock = Literal["wall", "processor"]
"""Time that passed, or user and system time of the process and of the children it waits for."""


class Target(Record):
    """What a value is held against."""

    at_most: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError("a target is either at most or at least a value")
        return self

    def met(self, value: float) -> bool:
        """Return whether a value is on the right side."""
        if self.at_most is not None:
            return value <= self.at_most
        assert self.at_least is not None
        return value >= self.at_least


class Row(Record):
    """What one variant took, round by round."""

    variant: str
    role: Role
    seconds: tuple[float, ...] = Field(min_length=1)

    @property
    def median(self) -> float:
        """Median seconds."""
        return median(self.seconds)


class Comparison(Record):
    """Two variants, one against the other."""

    what: str
    over: str
    """The variant whose time is divided."""
    under: str
    """The variant by whose time it is divided."""
    target: Target | None = None


class Figure(Record):
    """Something else that was measured or counted, once or in each round."""

    what: str
    unit: str
    values: tuple[float, ...] = Field(min_length=1)
    case: str = ""
    """Heads the figure's column, where the same is measured in several cases."""
    target: Target | None = None

    @property
    def median(self) -> float:
        """Median value."""
        return median(self.values)


class Measurement(Record):
    """What a benchmark returns. The first row is ours."""

    amount: float
    """How much of `unit` each variant worked through."""
    unit: str
    clock: Clock = "wall"
    rows: tuple[Row, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    figures: tuple[Figure, ...] = ()
    detached_seconds: float = 0.0
    """Processor time of processes of its own that it does not wait for: servers."""
    remarks: tuple[str, ...] = ()
    """Of this run: what was left out, and why."""

    @model_validator(mode="after")
    def _compares_what_was_measured(self) -> Self:
        known = {row.variant for row in self.rows}
        named = {name for one in self.comparisons for name in (one.over, one.under)}
        if missing := sorted(named - known):
            raise ValueError(f"comparison of {', '.join(missing)}, which no row has")
        return self

    def against_ours(self, row: Row) -> float:
        """Return a variant's time against ours: above 1, ours is faster."""
        return paired(row.seconds, self.rows[0].seconds)

    def ratio(self, comparison: Comparison) -> float:
        """Return one variant's time against another's."""
        seconds = {row.variant: row.seconds for row in self.rows}
        return paired(seconds[comparison.over], seconds[comparison.under])


def paired(over: tuple[float, ...], under: tuple[float, ...]) -> float:
    """Return the median over rounds of one time divided by the other's of the same round.

    A variant that takes part in fewer rounds takes part in the first ones; the others' later
    rounds are left out.
    """
    return median(one / other for one, other in zip(over, under, strict=False))


class Machine(Record):
    """What the figures depend on: hardware in words, and versions; no name of a host."""

    processor: str
    cores: int
    """That this process may use."""
    memory_gb: int
    vector_instructions: str
    gpu: str = ""
    torch_threads: int
    python: str
    libraries: dict[str, str]

    @property
    def kind(self) -> Literal["CPU", "GPU"]:
        """Return what heads its results."""
        return "GPU" if self.gpu else "CPU"


class Load(Record):
    """How busy the machine was."""

    before: float
    """Load average of a minute as the benchmark began, that of a benchmark before it included."""
    after: float
    elsewhere: float
    """Mean number of cores that other work kept busy meanwhile."""


class Result(Record):
    """One run of one benchmark, whole in itself."""

    benchmark: str
    command: str
    began: datetime
    seconds: float
    """That the benchmark took in all."""
    commit: str
    """Empty outside a checkout."""
    dirty: bool
    """Whether the working tree had changes beside results and page."""
    machine: Machine
    load: Load
    measured: Measurement


class ResultsFile(Record):
    """The results of one day on one machine."""

    form: Literal[1] = FORM
    results: dict[str, Result] = Field(default_factory=dict)
    """The latest of each benchmark."""

    @model_validator(mode="after")
    def _under_its_name(self) -> Self:
        for name, result in self.results.items():
            if name != result.benchmark:
                raise ValueError(f"{name} holds the result of {result.benchmark}")
        return self
