"""Results that were never measured, for tests of what is done with results."""

from datetime import UTC, datetime

from tests.benchmarks.report.form import Load, Machine, Measurement, Result, Row

MACHINE = Machine(
    processor="Example(R) Fast(TM) 7R13 16-Core Processor @ 2.60GHz",
    cores=2,
    memory_gb=25,
    vector_instructions="AVX512",
    torch_threads=2,
    python="3.11.9",
    libraries={"numpy": "2.4.6"},
)
TIMES = Measurement(
    amount=4,
    unit="songs",
    rows=(
        Row(variant="ours", role="ours", seconds=(1.0, 4.0, 3.0)),
        Row(variant="theirs", role="library", seconds=(2.0, 4.0, 9.0)),
    ),
)
DAY = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


def result(
    name: str, began: datetime = DAY, machine: Machine = MACHINE, measured: Measurement = TIMES
) -> Result:
    """Return a whole result."""
    return Result(
        benchmark=name,
        command=f"python -m tests.benchmarks {name}",
        began=began,
        seconds=61.2,
        commit="0123456789abcdef",
        dirty=False,
        machine=machine,
        load=Load(before=0.5, after=1.5, elsewhere=0.04),
        measured=measured,
    )
