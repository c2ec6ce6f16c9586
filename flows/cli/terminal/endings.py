"""How a command ends: one line about what went wrong, and an exit code that says what kind it was.

An error of the program itself is one line, too: a user cannot act on a traceback. It is kept in a
file for the developers, or printed where STEMWORKS_TRACEBACK is set.
"""

import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from types import FrameType

import typer

from flows.cli.terminal.usage import UsageError
from storage.environment import TRACEBACK
from storage.errors import StemworksError

UNEXPECTED, USAGE, INTERRUPTED, TERMINATED = 1, 2, 130, 143


class Terminated(SystemExit):
    """SIGTERM came: raised wherever the command is, so that whatever is open is closed."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


def take_signals() -> None:
    """Let Ctrl-C and SIGTERM end this process as an error does: with its clean-up done."""
    signal.signal(signal.SIGTERM, _terminate)
    # A script that starts this in the background has it ignore Ctrl-C, and every child with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def guarded(command: Callable[[], object]) -> int:
    """Run a command; print its error, if there is one, in one line, and return its exit code.

    What it printed has left this process: if it could not, that is an error, too.
    """
    code, lost = _ending(command), _ending(sys.stdout.flush)
    return code or lost


def _ending(command: Callable[[], object]) -> int:  # noqa: PLR0911  one for each way to end
    try:
        code = command()
    except StemworksError as error:
        return _tell(str(error), error.exit_code)
    except UsageError as error:
        return _tell(error.format_message(), USAGE)
    except typer.Exit as done:
        return int(done.exit_code)
    except KeyboardInterrupt:
        return _tell_stopped("Ctrl-C", INTERRUPTED)
    except Terminated:
        return _tell_stopped("SIGTERM", TERMINATED)
    except SystemExit as stop:
        if stop.code is None or isinstance(stop.code, int):
            return stop.code or 0
        return _tell(stop.code, UNEXPECTED)
    except Exception as error:  # noqa: BLE001  the last who can say what happened
        return _tell_unexpected(error)
    return code if isinstance(code, int) else 0


def _tell(message: str, code: int) -> int:
    line = " ".join(message.splitlines())
    print(f"error: {line}", file=sys.stderr)  # noqa: T201  the command line's own output
    return code


def _tell_stopped(by: str, code: int) -> int:
    # The cursor may be behind a question, a bar or the ^C that a terminal shows.
    sys.stderr.write("\n" if sys.stderr.isatty() else "")
    return _tell(f"stopped by {by}; run the same command again to finish", code)


def _tell_unexpected(error: Exception) -> int:
    told = "".join(traceback.format_exception(error))
    what = f"unexpected {type(error).__name__}: {error}"
    if TRACEBACK.read():
        sys.stderr.write(told)
        return _tell(what, UNEXPECTED)
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="stemworks-", suffix=".traceback", delete=False
        ) as file:
            file.write(f"{sys.argv}\n{told}")
    except OSError:
        return _tell(f"{what}; {TRACEBACK.name}=1 shows where", UNEXPECTED)
    return _tell(f"{what}; please report it, with {file.name}", UNEXPECTED)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated
