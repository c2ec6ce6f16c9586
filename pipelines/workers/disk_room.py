"""Room on a disk that several workers write to: what has none is not begun, and some always stays.

A disk that is really full ends everything on it, half done. So each piece of work says beforehand
how much it will write, and looks now and then whether others have filled the disk meanwhile.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.errors import MachineError
from storage.files import free_bytes, nearest

HALF = 0.5
"""Of what pieces of work that have begun will write: they are half done on average."""

_lock = threading.Lock()
_begun: defaultdict[int, list[int]] = defaultdict(list)
"""By the number of a disk, bytes that each piece of work of this process will write to it in all.
"""


@dataclass(frozen=True)
class DiskRoom:
    """The room of one piece of work.

    Args:
        folder: on the disk that it writes to.
        reserve: bytes that stay free; 0 lets it write to the last byte.
        setting: which sets the reserve.
        what: is done, as messages call it.
    """

    folder: Path
    reserve: int
    setting: str
    what: str

    def look(self) -> None:
        """Stop this work if less than the reserve is free.

        Raises:
            MachineError: it is; names how much is lacking.
        """
        if not self.reserve:
            return
        free = free_bytes(self.folder)
        if free < self.reserve:
            raise self._lacks(
                f"{self.what} was stopped before the disk is full", free, self.reserve
            )

    @contextmanager
    def taken(self, needed: int) -> Iterator[None]:
        """Take room for work that writes so many bytes, unless there is too little.

        Raises:
            MachineError: there is too little beside the reserve and what other work has taken;
                names how much is lacking.
        """
        if not self.reserve:
            yield
            return
        disk = nearest(self.folder).stat().st_dev
        with _lock:
            others = round(HALF * sum(_begun[disk]))
            free = free_bytes(self.folder)
            if free < needed + others + self.reserve:
                begins = f"{self.what} needs about {_gb(needed)} on the disk while it is done"
                if others:
                    begins += f", and what was begun before {_gb(others)} more"
                raise self._lacks(begins, free, needed + others + self.reserve)
            _begun[disk].append(needed)
        try:
            yield
        finally:
            with _lock:
                _begun[disk].remove(needed)

    def _lacks(self, why: str, free: int, needed: int) -> MachineError:
        return MachineError(
            f"{why}: {_gb(free)} are free under {self.folder}, of which {self.setting} keeps "
            f"{_gb(self.reserve)}; free at least {_gb(needed - free)} more, or use another --home, "
            "then run again: what is done is kept"
        )


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
