"""What this machine does at once: names and sizes of its concurrency limits.

Each machine has its own: `gpu:HOST` with as many slots as it has GPUs, and `packing:HOST` with
one, since a packing task uses every core. Where each run has a machine to itself, such as a pod,
an empty STEMWORKS_HOST says that nothing is shared.

Nothing here imports Prefect; `concurrency_limits` puts these on the server.
"""

import socket

from flows.jobs import gpus
from storage.environment import HOST

KINDS = ("gpu", "packing")
"""Kinds of stages of which a machine runs only so many at once."""


def host() -> str:
    """Return the name under which the runs of this machine share it; empty if they do not."""
    return socket.gethostname() if HOST.given is None else HOST.given


def limit_name(kind: str) -> str:
    """Return the name of this machine's limit for a kind of stage; empty if it has none."""
    return f"{kind}:{host()}" if kind in KINDS and host() else ""


def limit_names() -> list[str]:
    """Return the names of this machine's limits."""
    return [name for kind in KINDS if (name := limit_name(kind))]


def capacity(kind: str) -> int:
    """Return how many stages of a kind this machine runs at once by default."""
    return max(1, len(gpus.present())) if kind == "gpu" else 1
