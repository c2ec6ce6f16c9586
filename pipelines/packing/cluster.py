"""Packing by the workers of a Dask cluster, a unit each, watched from here.

Every worker needs this package in the same versions, the home on a file system that all share or
in a bucket, and the archive under the same path or address. When a worker dies, Dask gives its unit
to another worker; marks record what is done, on whichever worker.
"""

import queue
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from pipelines.packing.pack import pack_unit
from pipelines.packing.unit_work import PackRequest
from storage.errors import ConfigError, LockedError, RunError, StemworksError
from storage.home.marks import Mark
from storage.home.open import open_home

try:
    from distributed import Client, Future, KilledWorker
except ImportError as error:
    raise ConfigError(
        f"fma.engine is dask, but Dask cannot be imported ({error}); install 'stemworks[dask]', or "
        "leave fma.engine at local"
    ) from error

CONNECT_SECONDS = 30.0
"""Within which the scheduler must answer."""
ALONE_SECONDS = 300.0
"""How long a cluster may have no worker: while the first ones start, or lost ones come back."""
LOOK_SECONDS = 5.0
"""Between two checks that the cluster is still there."""
SHARED_SECONDS = 60.0
"""Within which a network file system must show here what a worker wrote there."""
SHAPING = ("numpy", "soundfile", "soxr", "av", "pydantic")
"""Packages whose versions may change the bytes."""


def pack_on_cluster(
    requests: Mapping[str, PackRequest], scheduler: str, on_done: Callable[[Mark], None]
) -> None:
    """Pack units, given by the key of their work; call `on_done` here with each mark as it comes.

    When interrupted, it cancels what no worker has begun.

    Raises:
        ConfigError: no scheduler is named.
        RunError: the cluster cannot be reached, has no worker, has other versions than here, or
            does not share the home; or several workers died while packing one unit.
        StemworksError: as `pack_unit`, when all other units are done; `LockedError` only if no
            unit failed otherwise.
    """
    with _cluster(scheduler) as client:
        futures: dict[Future[Mark], str] = {}
        try:
            for key, request in requests.items():
                # A unique name: Dask would return another batch's, or an earlier attempt's, result
                # for the same name.
                name = f"pack-{request.unit.id}-{uuid4().hex}"
                futures[client.submit(pack_unit, request, key=name, pure=False)] = key
            failures = [
                failure
                for future in _as_done(client, list(futures))
                if (failure := _settle(future, requests[futures[future]], futures[future], on_done))
            ]
        except BaseException:
            with suppress(OSError):
                client.cancel(list(futures), force=True)
            raise
    failures.sort(key=lambda failure: isinstance(failure, LockedError))
    if failures:
        raise failures[0]


@contextmanager
def _cluster(scheduler: str) -> Iterator[Client]:
    if not scheduler:
        raise ConfigError(
            "fma.engine is dask, but fma.scheduler names no scheduler; "
            "give its address, as in '--set fma.scheduler=tcp://HOST:8786'"
        )
    try:
        client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RunError(
            f"no Dask scheduler answers at {scheduler} ({error}); start one with 'dask scheduler', "
            "or correct fma.scheduler"
        ) from error
    with client:
        _require_workers(client, scheduler)
        _require_same_versions(client)
        yield client


def _require_workers(client: Client, scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=ALONE_SECONDS)
    except TimeoutError as error:
        raise RunError(
            f"the cluster at {scheduler} has had no worker for {ALONE_SECONDS:g} s; start some "
            f"with 'dask worker {scheduler} --nthreads 1', then run again"
        ) from error


def _require_same_versions(client: Client) -> None:
    found: Any = client.get_versions(packages=list(SHAPING))
    here = found["client"]["packages"]
    for address, worker in found["workers"].items():
        there = worker["packages"]
        other = [
            f"{name} {there.get(name)} instead of {here.get(name)}"
            for name in (*SHAPING, "distributed")
            if there.get(name) != here.get(name)
        ]
        if other:
            raise RunError(
                f"worker {address} has {', '.join(other)}: the same input might give other bytes "
                "there; start all workers from one image or lock file"
            )


def _as_done(client: Client, futures: list[Future[Mark]]) -> Iterator[Future[Mark]]:
    """Yield futures as they end; check from time to time that the cluster is still there."""
    ended: queue.SimpleQueue[Future[Mark]] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(ended.put)
    left, seen = len(futures), time.monotonic()
    while left:
        try:
            yield ended.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            seen = time.monotonic() if _has_workers(client) else seen
            if time.monotonic() - seen > ALONE_SECONDS:
                raise RunError(
                    f"the cluster has had no worker for {ALONE_SECONDS:g} s with {left} of "
                    f"{len(futures)} units to pack; start workers, then run again: finished units "
                    "are kept"
                ) from None
        else:
            left, seen = left - 1, time.monotonic()


def _has_workers(client: Client) -> bool:
    if client.status == "closed":
        raise _scheduler_is_gone()
    return bool(client.scheduler_info(n_workers=1)["workers"])


def _settle(
    future: Future[Mark], request: PackRequest, key: str, on_done: Callable[[Mark], None]
) -> StemworksError | OSError | None:
    """Pass a finished unit's mark on, or return why there is none."""
    if future.status not in ("finished", "error"):
        raise _scheduler_is_gone()
    error = future.exception() if future.status == "error" else None
    if isinstance(error, StemworksError | OSError):
        return error
    if isinstance(error, KilledWorker):
        return RunError(
            f"unit {request.unit.id} was lost with each of {error.allowed_failures + 1} workers "
            "that took it (killed, or out of memory); look at their logs, or give them more memory"
        )
    if error is not None:
        return RunError(
            f"no worker could pack unit {request.unit.id} ({type(error).__name__}: {error}); start "
            "all workers from one image, with this package in it"
        )
    mark = future.result()
    future.release()
    _require_ours(mark, request, key)
    on_done(mark)
    return None


def _require_ours(mark: Mark, request: PackRequest, key: str) -> None:
    """Refuse a mark that this home does not hold, or that is of other work."""
    host = mark.built_by.get("host", "a worker")
    if mark.key != key:
        raise RunError(
            f"unit {request.unit.id} came from {host} as version {mark.version} of other work; "
            "start all workers from one image, with this same package in it"
        )
    home, until = open_home(request.home), time.monotonic() + SHARED_SECONDS
    while not home.has(home.mark(mark.stage, mark.key)):
        if time.monotonic() > until:
            raise RunError(
                f"{host} packed unit {request.unit.id} into a home of its own: {home.url} here "
                "does not have it; put the home on a shared file system, or in a bucket"
            )
        time.sleep(LOOK_SECONDS)


def _scheduler_is_gone() -> RunError:
    return RunError(
        "the Dask scheduler has died; start it and its workers again, then run again: finished "
        "units are kept"
    )
