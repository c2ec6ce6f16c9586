"""The machine examined: a table of what was found, and an error if something is wrong."""

from flows.cli import doctor
from flows.cli.views import View, table_of
from storage.errors import MachineError
from storage.home.layout import Home

COLOURS = {"ok": "green", "note": "yellow", "wrong": "red"}


def examine(home: Home, view: View) -> None:
    """Check everything and show it.

    Raises:
        MachineError: something is wrong; names it.
    """
    findings = doctor.examine(home)
    rows = [
        (finding.name, f"[{COLOURS[finding.verdict]}]{finding.verdict}[/]", *finding[2:])
        for finding in findings
    ]
    view.show(
        [finding._asdict() for finding in findings],
        table_of("This machine", ("what", "", "found", "remedy"), rows),
    )
    wrong = [finding for finding in findings if finding.verdict == "wrong"]
    if wrong:
        said = "; ".join(f"{one.name}: {one.found}; {one.remedy}" for one in wrong)
        raise MachineError(said)
