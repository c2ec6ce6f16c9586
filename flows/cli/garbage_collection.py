"""What a home holds and nothing refers to: found, shown, and deleted when that is agreed to.

Kept is whatever a mark names, whatever an unfinished stage of one of the home's studies would take
up again, and what a finished job tells of itself. The rest is litter: work of settings that no
study here has any more, checkpoints of finished jobs, remains of writers that died.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from flows.studies.runner import StageStatus
from storage.home import marks
from storage.home.layout import Home
from storage.stores.base import FolderStore, Seen, Unfinished

ROOMS = ("archives", "fma", "musdb", "activity", "runs", "reports")
"""Folders of a home in which stages leave what they make."""
RECORDS = (
    "attempts.json",
    "events.jsonl",
    "failure.json",
    "job.json",
    "log.txt",
    "metrics.jsonl",
    "result",
    "run.lock",
    "snapshots",
    "tensorboard",
)
"""What a job tells of itself; reports are drawn from it."""
STALE_SECONDS = 3600.0
"""Age from which a file that is still arriving has lost its writer."""
UPLOAD_SECONDS = 24 * 3600.0
"""Age from which an upload in parts has lost its writer."""


class Litter(NamedTuple):
    """One file that nothing refers to."""

    name: str
    """Relative to the home."""
    bytes: int
    why: str
    upload: str = ""
    """What the bucket calls an upload in parts that nobody ended; empty of a file."""


def survey(home: Home, studies: Iterable[list[StageStatus]]) -> list[Litter]:
    """Return all litter of a home; `studies` are the outlooks of each of its studies."""
    named = {output.path for mark in marks.all_marks(home) for output in mark.outputs}
    jobs = {_folder(name) for name in named}
    works = [work for outlooks in studies for work in _unfinished(outlooks)]
    found = [
        Litter(name, seen.bytes, why)
        for name, seen in _everything(home)
        if name not in named and (why := _why(name, works, _folder(name) in jobs))
    ]
    return sorted([*found, *_remains(home)])


def sweep(home: Home, litter: Iterable[Litter], studies: Iterable[str]) -> int:
    """Delete litter while no study of the home runs; return the bytes freed.

    Raises:
        LockedError: a study is running.
    """
    freed = 0
    with ExitStack() as held:
        for name in studies:
            held.enter_context(home.alone(f"study-{name}", f"study '{name}' in {home.url}"))
        for piece in litter:
            if piece.upload:
                home.store.discard(Unfinished(piece.name, piece.bytes, piece.upload))
            else:
                home.remove(home.path(piece.name))
            freed += piece.bytes
        _remove_empty_folders(home)
    return freed


def _everything(home: Home) -> Iterator[tuple[str, Seen]]:
    for room in ROOMS:
        yield from home.store.listing(room).items()


def _unfinished(outlooks: list[StageStatus]) -> Iterator[str]:
    """Yield the keys of works that are not done; an unpacked corpus bears its own."""
    for outlook in outlooks:
        for one in (outlook, *outlook.units):
            if one.work and one.mark is None:
                yield one.work.inputs.get("corpus", one.work.key)


def _folder(name: str) -> str:
    return "/".join(PurePosixPath(name).parts[:2])


def _why(name: str, works: list[str], finished: bool) -> str:
    """Return why a file that no mark names is litter, or an empty string if it is not.

    `finished`: a mark names other files of its folder.
    """
    room, folder, *rest = PurePosixPath(name).parts
    if any(key in folder for key in works):
        return ""
    if room == "runs" and finished:
        if rest and rest[0] in RECORDS:
            return ""
        if rest and rest[0] == "checkpoints":
            return "checkpoint of a finished job"
    return "of no finished or pending stage"


def _remains(home: Home) -> Iterator[Litter]:
    """Yield what writers that died left half written, on this machine and in the home's bucket."""
    for left in FolderStore(home.root).unfinished(STALE_SECONDS):
        yield Litter(left.name, left.bytes, "never finished")
    if home.remote:
        for left in home.store.unfinished(UPLOAD_SECONDS):
            yield Litter(left.name, left.bytes, "upload never ended", left.upload)


def _remove_empty_folders(home: Home) -> None:
    for room in ROOMS:
        folders = [path for path in (home.root / room).rglob("*") if path.is_dir()]
        for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
            if not any(Path(folder).iterdir()):
                folder.rmdir()
