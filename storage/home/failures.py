"""Recorded failures: a file in place of the mark, deleted when the work succeeds."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.errors import LockedError, ManifestError, StemworksError, StoppedError
from storage.home.layout import Home
from storage.home.marks import Work


@contextmanager
def recording_failure(home: Home, work: Work) -> Iterator[None]:
    """Record why work fails, for `plan` and `status` to show; success deletes the record.

    Neither a lock that another process holds nor a stop together with the flow is a failure.
    """
    path = _path(home, work)
    try:
        yield
    except (LockedError, StoppedError):
        raise
    except (StemworksError, OSError) as error:
        why = {"stage": work.stage, "key": work.key, "error": str(error)}
        # On a full disk even this may fail; the error itself matters more.
        with suppress(StemworksError, OSError):
            home.write(path, json.dumps(why).encode())
        raise
    home.remove(path)


def last_failure(home: Home, work: Work) -> str:
    """Return the message of a work's last failure; empty if it did not fail."""
    try:
        return str(json.loads(home.read(_path(home, work)))["error"])
    except (ManifestError, ValueError, KeyError):
        return ""


def _path(home: Home, work: Work) -> Path:
    return home.mark(work.stage, work.key).with_suffix(".failed")
