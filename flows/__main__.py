"""The command line: assembles the commands, and ends each with one sentence and an exit code.

Exit codes: 0 done; 1 unexpected error; 2 setting, option or word; 3 recording or archive; 4 run;
5 machine; 130 and 143 stopped by Ctrl-C or SIGTERM, and resumable; 141 the output was not read
to its end, as in `stemworks status | head -1`: there is nothing to say, as with any Unix program.
Without a command: the help, and 2, so that a script that has lost its command notices.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from flows.cli import (
    census,
    deploy,
    export,
    garbage_collection,
    lineage,
    recover,
    run,
    settings,
    views,
)
from flows.cli.machine import doctor
from flows.cli.terminal.endings import guarded, take_signals
from flows.cli.terminal.streams import prepare_streams
from flows.cli.terminal.usage import spoken
from storage.home.provenance import code

PROGRAM = "stemworks"
app = typer.Typer(
    help="Raw music archives in, trained and scored music source separators out.",
    # Boxes and colours around each option leave too little of 80 columns for what it does.
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
GROUPS = (
    run, views, census, recover, garbage_collection, lineage, export, doctor, deploy, settings,
)  # fmt: skip
for group in GROUPS:
    app.add_typer(group.app)
spoken(app)


def main() -> None:
    """Run the command line and exit with its exit code."""
    prepare_streams()
    take_signals()
    sys.exit(perform(sys.argv[1:]))


def perform(words: Sequence[str]) -> int:
    """Do what the words of one command line say; return its exit code."""
    return guarded(lambda: _invoke(list(words)))


def _invoke(words: list[str]) -> object:
    """Invoke a command; not by typer's own `main`, which makes of any closed pipe an exit code 1,
    a model server's among them, and of Ctrl-C a silent 130."""
    command = get_command(app)
    with command.make_context(PROGRAM, words) as context:
        return command.invoke(context)


def _show_version(wanted: bool) -> None:
    if wanted:
        found = code()
        commit = f" ({found['commit'][:12]})" if "commit" in found else ""
        typer.echo(f"{PROGRAM} {found['version']}{commit}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


if __name__ == "__main__":
    main()
