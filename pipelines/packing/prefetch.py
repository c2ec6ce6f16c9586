"""Fetch the next tracks while one is being taken in, where fetching means waiting for a server."""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from pipelines.archives.sources import Extent, Fetcher
from storage.records import Track

AHEAD = 2
"""Tracks fetched before they are asked for: their bytes lie on the disk meanwhile."""


def prefetched(
    fetcher: Fetcher, tracks: Sequence[Track], scratch: Path
) -> Generator[tuple[Track, Extent], None, None]:
    """Yield each track with its stored bytes, which last until the next one is asked for.

    Raises:
        SourceError: as `Fetcher.fetched`.
    """
    if not fetcher.source.remote:
        for track in tracks:
            with fetcher.fetched(track, scratch) as extent:
                yield track, extent
        return
    waiting: deque[tuple[Track, Future[_Fetched]]] = deque()
    rest = list(reversed(tracks))
    with ThreadPoolExecutor(AHEAD, "fetch") as pool, ExitStack() as stack:
        stack.callback(_drop, waiting)
        while True:
            while rest and len(waiting) <= AHEAD:
                track = rest.pop()
                waiting.append((track, pool.submit(_Fetched, fetcher, track, scratch)))
            if not waiting:
                return
            track, future = waiting.popleft()
            with future.result() as extent:
                yield track, extent


class _Fetched:
    """A track's bytes, brought by one thread and released by another."""

    def __init__(self, fetcher: Fetcher, track: Track, scratch: Path) -> None:
        with ExitStack() as stack:
            self._extent = stack.enter_context(fetcher.fetched(track, scratch))
            self._stack = stack.pop_all()

    def __enter__(self) -> Extent:
        return self._extent

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _drop(waiting: deque[tuple[Track, Future[_Fetched]]]) -> None:
    """Release what was fetched in vain."""
    for _, future in waiting:
        if not future.cancel() and future.exception() is None:
            with future.result():
                pass
