"""`python -m tests.two_hosts`: the journey, told as it goes."""

import sys
import tempfile
import time
from pathlib import Path

from storage.home.open import open_home
from tests.two_hosts import two_hosts
from tests.two_hosts.journey import archives, cluster, losses, order, packers, shards, store


def say(what: str, begun: float) -> None:
    sys.stdout.write(f"{time.monotonic() - begun:6.1f} s  {what}\n")
    sys.stdout.flush()


def main() -> int:
    """Pack and train on two hosts, then on one; return 0 if bytes and losses agree."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stemworks-hosts-") as name:
        folder = Path(name)
        music = archives(folder / "archives")
        with two_hosts(folder) as (one, two), store() as url:
            say("two hosts are up", begun)
            with cluster(one, two, folder) as scheduler:
                dask = ("fma.engine=dask", f"fma.scheduler={scheduler}")
                one.run(*order("fma", url, music, *dask))
            say(f"packed by {', '.join(sorted(packers(open_home(url))))}", begun)
            one.run(*order("pretrain", url, music, "pretraining.runtime.hosts=2"))
            say("trained by one process on each of two hosts", begun)
            alone = str(folder / "alone")
            one.run(*order("pretrain", alone, music, "pretraining.runtime.processes=2"))
            say("packed and trained by two processes on one host", begun)
            apart, together = losses(open_home(url)), losses(open_home(alone))
            same = shards(open_home(url)) == shards(open_home(alone))
    for (step, ours), (_, theirs) in zip(apart, together, strict=True):
        sys.stdout.write(f"step {step:3d}  loss on two hosts {ours:.9f}, on one {theirs:.9f}\n")
    sys.stdout.write(f"shards are {'' if same else 'NOT '}the same\n")
    return 0 if same and apart == together else 1


if __name__ == "__main__":
    sys.exit(main())
