"""Fetch the next tracks while one is processed, where fetching means waiting for a server."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from pipelines.archives.sources import Extent, Fetcher
from storage.read_ahead import ordered_results
from storage.records import Track

AHEAD = 2
"""Tracks fetched before they are asked for: their bytes are on the disk meanwhile."""


def prefetched(
    fetcher: Fetcher, tracks: Sequence[Track], scratch: Path
) -> Generator[tuple[Track, Extent], None, None]:
    """Yield each track with its stored bytes, which are deleted when the next one is asked for.

    Raises:
        SourceError: as `Fetcher.fetched`.
    """
    if not fetcher.source.remote:
        for track in tracks:
            with fetcher.fetched(track, scratch) as extent:
                yield track, extent
        return
    fetch = partial(_Fetched, fetcher, scratch)
    with (
        ThreadPoolExecutor(AHEAD, "fetch") as pool,
        closing(ordered_results(pool, fetch, tracks, AHEAD, _Fetched.close)) as results,
    ):
        for fetched in results:
            try:
                yield fetched.track, fetched.extent
            finally:
                fetched.close()


class _Fetched:
    """A track's bytes, brought by one thread and released by another."""

    def __init__(self, fetcher: Fetcher, scratch: Path, track: Track) -> None:
        self.track = track
        with ExitStack() as stack:
            self.extent = stack.enter_context(fetcher.fetched(track, scratch))
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Release the bytes."""
        self._stack.close()
