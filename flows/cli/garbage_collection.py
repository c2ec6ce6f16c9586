"""`gc`: what nothing in a home refers to is found, shown, and deleted after asking.

Kept are files that a mark names, files that an unfinished stage of one of the home's studies would
resume from, and records of finished jobs. The rest is garbage: work of settings that no study here
has any more, checkpoints of finished jobs, and unfinished files of writers that died.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Annotated, NamedTuple

import typer

from flows.cli.options import AsJson, HomeAt
from flows.cli.output import View, stdout_view, table_of
from flows.cli.terminal.questions import ask
from flows.cli.views import required_studies
from flows.studies.runner import StageStatus
from storage.home import marks
from storage.home.layout import Home
from storage.home.open import open_existing
from storage.stores.base import FolderStore, Seen, Unfinished
from training.report.formats import count

app = typer.Typer()
ROOMS = ("archives", "fma", "musdb", "activity", "models", "runs", "reports")
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
"""A job's records; reports are drawn from them."""
STALE_SECONDS = 3600.0
"""Age from which the writer of an unfinished file counts as dead."""
UPLOAD_SECONDS = 24 * 3600.0
"""Age from which the writer of a multipart upload, or of a test object, counts as dead."""


class Garbage(NamedTuple):
    """One file that nothing refers to."""

    name: str
    """Relative to the home."""
    bytes: int
    why: str
    upload: str = ""
    """The bucket's id of an unfinished multipart upload; empty for a file."""


@app.command(name="gc")
@app.command(name="janitor", hidden=True)
def collect(
    home: HomeAt = "home",
    agreed: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete what nothing in a home refers to, after asking. With --json: only with --yes."""
    collect_garbage(open_existing(home), agreed, stdout_view(as_json))


def collect_garbage(home: Home, agreed: bool, view: View) -> None:
    """Show a home's garbage, and delete it if `agreed` or the person says so.

    Raises:
        ConfigError: the home holds no study, or there is no answer.
        LockedError: a study is running.
    """
    studies = required_studies(home)
    garbage = find_garbage(home, studies.values())
    size = sum(piece.bytes for piece in garbage)
    rows = [(piece.name, f"{piece.bytes / 1e6:.1f} MB", piece.why) for piece in garbage]
    # The key is part of what machines read.
    value = {"litter": [piece._asdict() for piece in garbage], "bytes": size}
    if garbage and not view.as_json:
        view.show(value, table_of("Nothing refers to", ("file", "size", "why"), rows))
        question = f"Delete {count(len(garbage), 'file')}, {size / 1e6:.1f} MB?"
        agreed = agreed or ask(question, "--yes")
    freed = delete_garbage(home, garbage, studies) if agreed else 0
    view.show({**value, "freed": freed}, f"{freed / 1e6:.1f} MB freed in {home.url}")


def find_garbage(home: Home, studies: Iterable[list[StageStatus]]) -> list[Garbage]:
    """Return all garbage of a home; `studies` are the states of each of its studies' stages."""
    named = {output.path for mark in marks.all_marks(home) for output in mark.outputs}
    jobs = {_folder(name) for name in named}
    works = [work for statuses in studies for work in _unfinished(statuses)]
    found = [
        Garbage(name, seen.bytes, why)
        for name, seen in _everything(home)
        if name not in named and (why := _why(name, works, _folder(name) in jobs))
    ]
    return sorted([*found, *_remains(home)])


def delete_garbage(home: Home, garbage: Iterable[Garbage], studies: Iterable[str]) -> int:
    """Delete garbage while no study of the home runs; return the bytes freed.

    Raises:
        LockedError: a study is running.
    """
    freed = 0
    with ExitStack() as held:
        for name in studies:
            held.enter_context(home.alone(f"study-{name}", f"study '{name}' in {home.url}"))
        for piece in garbage:
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


def _unfinished(statuses: list[StageStatus]) -> Iterator[str]:
    """Yield the keys of work that is not done; units' files lie under their corpus's key."""
    for status in statuses:
        for one in (status, *status.units):
            if one.work and one.mark is None:
                yield one.work.inputs.get("corpus", one.work.key)


def _folder(name: str) -> str:
    return "/".join(PurePosixPath(name).parts[:2])


def _why(name: str, works: list[str], finished: bool) -> str:
    """Return why a file that no mark names is garbage, or an empty string if it is not.

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


def _remains(home: Home) -> Iterator[Garbage]:
    """Yield unfinished files of writers that died, on this machine and in the home's bucket."""
    for left in FolderStore(home.root).unfinished(STALE_SECONDS):
        yield Garbage(left.name, left.bytes, "never finished")
    if home.remote:
        for left in home.store.unfinished(UPLOAD_SECONDS):
            why = "upload never ended" if left.upload else "a test of the server that never ended"
            yield Garbage(left.name, left.bytes, why, left.upload)


def _remove_empty_folders(home: Home) -> None:
    for room in ROOMS:
        folders = [path for path in (home.root / room).rglob("*") if path.is_dir()]
        for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
            if not any(Path(folder).iterdir()):
                folder.rmdir()
