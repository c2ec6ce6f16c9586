"""Where results lie: one file a day and machine, in which each benchmark has its latest result."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from storage.files import write_bytes
from tests.benchmarks.report.form import Result, ResultsFile
from tests.benchmarks.report.machine import slug

RESULTS = Path(__file__).parents[1] / "results"


def keep(result: Result, folder: Path) -> Path:
    """Store a result beside the day's others; one of the same benchmark makes way for it."""
    path = folder / f"{result.began.date().isoformat()}-{slug(result.machine)}.json"
    known = read(path).results if path.exists() else {}
    held = ResultsFile(results={**known, result.benchmark: result})
    write_bytes(path, (held.model_dump_json(indent=1) + "\n").encode())
    return path


def read(path: Path) -> ResultsFile:
    """Return what a file holds.

    Raises:
        ValueError: it is not of this form.
    """
    try:
        return ResultsFile.model_validate_json(path.read_text())
    except ValidationError as error:
        raise ValueError(
            f"{path} does not have the form of results: {error}. Remove it, and measure again "
            f"with python -m tests.benchmarks"
        ) from error


def stored(folder: Path) -> list[Result]:
    """Return every stored result, of all days and machines."""
    files = sorted(folder.glob("*.json"))
    return [result for path in files for result in read(path).results.values()]


def newest(results: Iterable[Result]) -> dict[tuple[str, str], Result]:
    """Return the latest result of each benchmark on each kind of machine."""
    found: dict[tuple[str, str], Result] = {}
    for result in sorted(results, key=lambda one: one.began):
        found[result.benchmark, result.machine.kind] = result
    return found
