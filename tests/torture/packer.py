"""`python -m tests.torture.packer ORDER`: pack a corpus, and tell each step on standard output.

A line is the step and what it is done to. Whoever reads it may end this process at any of them.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipelines.archives.sources import Fetcher
from pipelines.packing import pack, track_scheduler
from pipelines.packing.census import take_census
from pipelines.packing.engines import pack_all
from pipelines.packing.unit_work import LEDGER
from pipelines.tracks.plan import write_plan
from storage.errors import LockedError
from storage.home import marks
from storage.home.marks import Mark, Work
from storage.retry_policy import RetryPolicy
from storage.shards.writer import ShardWriter
from tests.torture.material import Packing, from_order

HASTY = RetryPolicy(attempts=40, first_seconds=0.01, longest_seconds=0.05, retry_after_seconds=0.05)


def tell(step: str, what: str) -> None:
    """Say one step, in one write."""
    os.write(1, f"{step} {what}\n".encode())


def told(step: str, name_of: Callable[..., str], function: Callable[..., Any]) -> Any:
    """Return a function that says a step before it does it."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tell(step, name_of(*args))
        return function(*args, **kwargs)

    return wrapper


def talkative() -> None:
    """Make packing say its steps, and be quick to ask a failing server again."""
    pack_module: Any = pack
    scheduler_module: Any = track_scheduler
    writer: Any = ShardWriter
    real = scheduler_module.prefetched

    def prefetched(fetcher: Fetcher, tracks: Any, scratch: Path) -> Iterator[Any]:
        tell("fetch", tracks[0].id if tracks else "none")
        for track, extent in real(fetcher, tracks, scratch):
            tell("decode", track.id)
            yield track, extent
            tell("fetch", track.id)

    def hasty(source: Any, connections: int) -> Fetcher:
        return Fetcher(source, connections, HASTY)

    pack_module.Fetcher = hasty
    pack_module._pack = told("begin", lambda request, *_: request.unit.id, pack._pack)
    scheduler_module.prefetched = prefetched
    writer.add = told("tar", lambda _, track, *__: track, ShardWriter.add)
    writer._finish = told("close", lambda _: "shard", ShardWriter._finish)
    pack_module.write_rows = told("ledger", lambda path, _: path.stem, pack_module.write_rows)
    pack_module.commit = told("commit", lambda _, work, *__: work.key, pack_module.commit)


def alone(study: Packing, step: str, outputs: dict[str, Path], make: Callable[[], object]) -> None:
    """Do what one packer does at a time, as a stage does."""
    work = Work(step, 0, {}, {"corpus": study.corpus.root.name})
    while True:
        try:
            with study.home.alone(work.name, f"the {step}"):
                tell(step, "all")
                make()
                marks.commit(study.home, work, outputs, {}, 0.0)
                return
        except LockedError:
            time.sleep(0.05)


def count(study: Packing, done: list[Mark]) -> None:
    """Take the census."""
    marks.fetch(study.home, done, lambda output: output.label == LEDGER)
    take_census(study.corpus, study.plan, done, study.config)


def main(order: str) -> None:
    """Pack what is ordered, then take the census."""
    if "AWS_ACCESS_KEY_ID" in os.environ:
        from botocore.retries.standard import ExponentialBackoff  # noqa: PLC0415

        RetryPolicy.wait_seconds = lambda *_: 0.01  # type: ignore[method-assign]
        ExponentialBackoff.delay_amount = lambda *_: 0.01  # type: ignore[method-assign]
    study = from_order(order)
    talkative()
    corpus = study.corpus
    planned = {"plan.json": corpus.plan, "units.jsonl": corpus.units}
    alone(study, "plan", planned, lambda: write_plan(corpus, study.plan))
    packed = pack_all(study.requests, study.config)
    counted = {
        path.name: path
        for path in (corpus.index, corpus.census, corpus.card, corpus.attribution, corpus.tracks)
    }
    alone(study, "census", counted, lambda: count(study, packed))
    tell("end", "all")


if __name__ == "__main__":
    main(sys.argv[1])
