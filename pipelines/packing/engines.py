"""Where units are packed: by processes of this machine, or by the workers of a Dask cluster.

Either way the same units give the same bytes, a failing unit does not keep the others from being
done, and a unit that another process is packing is left to that process.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from pipelines.config import FmaConfig
from pipelines.packing.pack import pack_units
from pipelines.packing.unit_work import PackingTurn, PackRequest
from storage.errors import LockedError
from storage.home.marks import Mark
from storage.home.open import open_home

POLL_SECONDS = 1.0
"""Between two checks of a unit that another process is packing."""

OnDone = Callable[[Mark], None]
Remaining = Mapping[str, PackRequest]
"""Requests by the key of their work."""

logger = logging.getLogger(__name__)


def pack_all(
    requests: Sequence[PackRequest],
    config: FmaConfig,
    on_done: OnDone | None = None,
    turn: PackingTurn | None = None,
    say: Callable[[str], None] = logger.info,
) -> list[Mark]:
    """Pack units where the configuration says; return their marks in the requests' order.

    `on_done` is called here once with each unit's mark, as it comes. Units that another process
    is packing are awaited when the others are done; those it does not finish are packed here.
    What is packed on this machine is packed in `turn`'s pool, or in one of its own; `say` is
    called with a line on who is awaited.

    Raises:
        ConfigError: the engine is `dask`, but no scheduler is named, or Dask is not installed.
        RunError: a worker cannot start, or the cluster is not there, or not fit for use.
        StemworksError: as `pack_unit`, when all other units are done.
    """
    marks: dict[str, Mark] = {}

    def collect(mark: Mark) -> None:
        if mark.key not in marks:
            marks[mark.key] = mark
            if on_done:
                on_done(mark)

    wanted = {request.work.key: request for request in requests}
    while left := {key: request for key, request in wanted.items() if key not in marks}:
        try:
            _pack(left, config, collect, turn)
        except LockedError as error:
            say(f"waits for another process: {error}")
            _await_others([wanted[key] for key in left if key not in marks])
    return [marks[key] for key in wanted]


def _pack(
    requests: Remaining, config: FmaConfig, on_done: OnDone, turn: PackingTurn | None
) -> None:
    if config.engine == "local":
        units = list(requests.values())
        if turn:
            turn.do(units, on_done)
        else:
            pack_units(units, config.workers, on_done)
        return
    # Only a cluster needs Dask, which takes a second to import.
    from pipelines.packing.cluster import pack_on_cluster  # noqa: PLC0415

    pack_on_cluster(requests, config.scheduler, on_done)


def _await_others(requests: Sequence[PackRequest]) -> None:
    """Return when no other process holds any of these units, whether it finished them or not."""
    for request in requests:
        while _is_held(request):
            time.sleep(POLL_SECONDS)


def _is_held(request: PackRequest) -> bool:
    home = open_home(request.home)
    try:
        with home.alone(request.work.name, f"checking unit {request.unit.id}"):
            return False
    except LockedError:
        return True
