"""Why work failed last: a note beside where its mark would be, taken away when the work is done."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.errors import LockedError, ManifestError, StemworksError, StoppedError
from storage.home.layout import Home
from storage.home.marks import Work


@contextmanager
def noted(home: Home, work: Work) -> Iterator[None]:
    """Note why work fails, for `plan` and `status` to show; success takes an old note away.

    That another process is at it is no failure, nor that it was stopped with its flow.
    """
    path = _path(home, work)
    try:
        yield
    except (LockedError, StoppedError):
        raise
    except (StemworksError, OSError) as error:
        why = {"stage": work.stage, "key": work.key, "error": str(error)}
        # On a full disk not even this may be possible; the error itself matters more.
        with suppress(StemworksError, OSError):
            home.write(path, json.dumps(why).encode())
        raise
    home.remove(path)


def last_failure(home: Home, work: Work) -> str:
    """Return why a piece of work failed last, or an empty string if it did not."""
    try:
        return str(json.loads(home.read(_path(home, work)))["error"])
    except (ManifestError, ValueError, KeyError):
        return ""


def _path(home: Home, work: Work) -> Path:
    return home.mark(work.stage, work.key).with_suffix(".failed")
