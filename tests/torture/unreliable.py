"""Servers that fail at random: of archives, and of homes in buckets."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.archives.sources import Source
from tests.bucket import bucket, moto_server
from tests.fault_proxy import Fault as BucketFault
from tests.fault_proxy import fault_proxy
from tests.range_server import Fault, RangeServer

SHARE = 0.15
"""Of requests that fail."""


@dataclass
class UnreliableServer(RangeServer):
    """Answers some requests wrongly, late, or not to the end."""

    chance: random.Random = field(default_factory=random.Random)
    failed: int = 0

    def fault(self, method: str) -> Fault:
        """Draw the next accident."""
        with self.lock:
            if method == "HEAD" or self.chance.random() > SHARE:
                return Fault()
            self.failed += 1
            return self.chance.choice(
                [
                    Fault(status=503, headers=(("Retry-After", "0"),)),
                    Fault(status=500),
                    Fault(status=429),
                    Fault(cut=self.chance.randrange(60_000)),
                    Fault(cut=self.chance.randrange(60_000), reset=True),
                    Fault(cut=0, reset=True),
                    Fault(silence=0.1),
                ]
            )


@contextmanager
def unreliable_source(archive: Path, seed: int) -> Iterator[tuple[Source, UnreliableServer]]:
    """Serve an archive by ranges; yield where it is, and its server."""
    server = UnreliableServer({"archive.zip": archive}, chance=random.Random(seed))
    with server:
        etag, size = server.etag("archive.zip"), archive.stat().st_size
        yield Source(location=server.url("archive.zip"), bytes=size, etag=etag), server


@dataclass
class Accidents:
    """Draws what goes wrong between a store and its bucket."""

    chance: random.Random
    failed: int = 0

    def draw(self, method: str, path: str) -> BucketFault | None:
        """Return the next accident, or None; no path is spared."""
        if self.chance.random() > SHARE:
            return None
        self.failed += 1
        kinds = [("status", 503), ("refuse", 0), ("late", 0.05), ("status", 503)]
        if method == "GET":
            size = self.chance.randrange(50_000)
            kinds += [("truncate", size), ("reset", size)]
        elif method == "PUT":
            kinds += [("forget", 0)]
        kind, amount = self.chance.choice(kinds)
        return BucketFault(kind, method, "", amount)


@contextmanager
def unreliable_bucket(seed: int) -> Iterator[tuple[str, Accidents]]:
    """Yield the address of a folder in a bucket whose server fails now and then."""
    accidents = Accidents(random.Random(seed))
    with (
        moto_server() as endpoint,
        fault_proxy(endpoint) as (proxied, rules),
        bucket(proxied, "homes") as url,
    ):
        rules.fault_of = accidents.draw  # type: ignore[method-assign]
        yield url, accidents
