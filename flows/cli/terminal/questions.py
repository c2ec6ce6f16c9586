"""A question to the person at the terminal, who may not be there, or may leave."""

import sys

from storage.errors import ConfigError


def ask(question: str, option: str) -> bool:
    """Ask whether to do something, on the error stream: the output may be a file.

    `option` is what agrees without being asked.

    Raises:
        ConfigError: there is no answer: there is no terminal, or its input ended (Ctrl-D).
    """
    while True:
        # Both go to one terminal, and what is asked about was printed before.
        sys.stdout.flush()
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            sys.stderr.write("\n")
            raise ConfigError(
                f"no answer to '{question}', so nothing was done; agree beforehand with {option}"
            )
        answer = line.strip().lower()
        if answer in ("y", "yes"):
            return True
        if answer in ("", "n", "no"):
            return False
