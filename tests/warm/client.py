"""How a process that was just started lets a warm interpreter do its work."""

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from tests.warm import FOLDER

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def hand_over() -> None:
    """Let a warm interpreter do what `python -m MODULE ...` was started for, if there is one.

    Returns where there is none, or where the process is another one's: it then goes on as ever.
    """
    options, words = sys.orig_argv[1:], sys.orig_argv
    unbuffered = options[:1] == ["-u"]
    options = options[unbuffered:]
    if FOLDER not in os.environ or options[:1] != ["-m"]:
        return
    if any(name.startswith("PREFECT_") for name in os.environ) and options[1] == "flows":
        return
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(Path(os.environ[FOLDER], f"{options[1]}.socket")))
    except OSError:
        return
    asked = {
        "words": words, "given": options[2:], "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "unbuffered": unbuffered or "PYTHONUNBUFFERED" in os.environ,
        "interruptible": signal.getsignal(signal.SIGINT) != signal.SIG_IGN,
    }  # fmt: skip
    message = json.dumps(asked).encode()
    socket.send_fds(connection, [len(message).to_bytes(8, "big")], [0, 1, 2])
    connection.sendall(message)
    _stand_in(connection)


def _stand_in(connection: socket.socket) -> NoReturn:
    """Pass signals on to the fork, and end as it ends."""
    replies = connection.makefile("r")
    pid = int(replies.readline())
    for number in PASSED_ON:
        signal.signal(number, lambda number, _: os.kill(pid, number))
    end = replies.readline()
    # Without an answer the interpreter is gone, and the fork with it.
    code = int(end) if end else -signal.SIGKILL
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)
