"""The command line: assembles the commands, and turns errors into one sentence and an exit code.

Exit codes: 0 done; 1 unexpected error; 2 setting or option; 3 recording or archive; 4 run;
5 machine; 130 and 143 stopped by Ctrl-C or SIGTERM, and resumable.
"""

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import typer

from flows.cli import (
    deploy,
    doctor,
    export,
    garbage_collection,
    lineage,
    recover,
    run,
    settings,
    views,
)
from storage.errors import StemworksError

app = typer.Typer(
    help="Raw music archives in, trained and scored music source separators out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (run, views, recover, garbage_collection, lineage, export, doctor, deploy, settings):
    app.add_typer(group.app)


UsageError: Any = typer.BadParameter.__mro__[2]
"""What wrong words end in. typer has a click of its own and exports this one of its errors, which
shares its base class with all the others."""


def main() -> None:
    """Run the command line and exit with its exit code."""
    signal.signal(signal.SIGTERM, _terminated)
    # A script that starts this in the background has it ignore Ctrl-C, and every child with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(guarded(lambda: app(standalone_mode=False)))


def guarded(command: Callable[[], object]) -> int:
    """Run a command; print its error, if there is one, and return its exit code."""
    try:
        code = command()
    except StemworksError as error:
        _print_error(str(error))
        return error.exit_code
    except UsageError as error:
        _print_error(error.format_message())
        return 2
    except (KeyboardInterrupt, typer.Abort):
        _print_error("stopped; run the same command again to resume")
        return 130
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return code if isinstance(code, int) else 0


def _print_error(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)  # noqa: T201  the command line's own output


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    main()
