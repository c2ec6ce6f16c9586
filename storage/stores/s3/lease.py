"""A lease: the lock in a bucket, an object that its holder keeps renewing.

It ends with its holder: on the same machine at once, since the kernel tells whether a process is
alive; elsewhere after `EXPIRY_SECONDS` without renewal by the *server's* clock, so that machines'
clocks need not agree. Taking over an expired lease is one conditional write: one process succeeds.

On a server without conditional writes the lease is best effort: its writer waits a moment, then
checks whether another process has overwritten it. A holder that was suspended or disconnected for
longer than `EXPIRY_SECONDS` may lose its lease; it logs that and continues. Neither harms stored
objects, as the same input gives the same bytes and each object appears whole; work may be repeated.
"""

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from storage.errors import IntegrityError, LockedError, ManifestError, StemworksError
from storage.processes import identity, is_alive, pid_space
from storage.stores.s3.address import S3Address
from storage.stores.s3.client import RETRIES, client, server_time
from storage.stores.s3.conditions import Conditions
from storage.stores.s3.download import Reading
from storage.stores.s3.errors import MISSING, REFUSED, answered, says
from storage.stores.s3.upload import Condition, send_bytes

RENEW_SECONDS = 20.0
EXPIRY_SECONDS = 90.0
SETTLE_SECONDS = 2.0
"""Wait of a writer without conditions before it checks whether it still has the lease."""

logger = logging.getLogger(__name__)


class Found(NamedTuple):
    """A lease as stored in the bucket."""

    version: str
    holder: dict[str, Any]
    age_seconds: float
    """Since its last renewal, by the server's clock."""

    def is_live(self) -> bool:
        """Whether its holder may still be alive."""
        here = pid_space()
        if (
            here
            and self.holder.get("space") == here
            and isinstance(self.holder.get("pid"), int)
            and not is_alive(self.holder)
        ):
            return False
        return self.age_seconds <= EXPIRY_SECONDS


class Lease:
    """One claim on a lease object."""

    def __init__(self, address: S3Address, what: str, kept: Conditions) -> None:
        self._address, self._what, self._kept = address, what, kept
        self._holder = {
            **identity(),
            "host": socket.gethostname(),
            "token": secrets.token_hex(16),
        }
        self._version = ""
        self._beats = 0
        self._over = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)

    def claim(self) -> None:
        """Take the lease if it is free or expired, and start to renew it.

        Raises:
            LockedError: another process holds it.
        """
        for failures in range(1, RETRIES.attempts + 1):
            found = self._look()
            # An earlier attempt succeeded, but its response was lost.
            if found and self._is_ours(found):
                self._version = found.version
                break
            if found and found.is_live():
                raise self._locked(found)
            if self._write(found.version if found else ""):
                self._settle(self._kept.same if found else self._kept.absent)
                break
            RETRIES.pause(failures)
        else:
            raise self._locked(self._look())
        self._renewer.start()

    def release(self) -> None:
        """Stop renewing and delete the lease, unless another process has taken it over."""
        self._over.set()
        self._renewer.join(EXPIRY_SECONDS)
        try:
            found = self._look()
            if found and self._is_ours(found):
                with answered(self._address.url):
                    client().delete_object(Bucket=self._address.bucket, Key=self._address.key)
        except StemworksError as error:
            logger.warning("cannot release a lease; it expires in %g s: %s", EXPIRY_SECONDS, error)

    def _renew(self) -> None:
        while not self._over.wait(RENEW_SECONDS):
            try:
                held = self._beat()
            except StemworksError as error:
                logger.warning("cannot renew the lease of %s: %s", self._what, error)
                continue
            if not held:
                logger.warning(
                    "the lease of %s was taken over by another process; both may do the same work, "
                    "which costs time but no data: check for two runs on one home",
                    self._what,
                )
                return

    def _beat(self) -> bool:
        """Renew; False if another process has the lease by now."""
        if self._kept.same and self._write(self._version):
            return True
        found = self._look()
        if found is None or not self._is_ours(found):
            return False
        self._version = found.version
        return self._kept.same or self._write(self._version)

    def _settle(self, decided: bool) -> None:
        """Without a conditional write, check whose write came last."""
        if decided:
            return
        time.sleep(SETTLE_SECONDS)
        found = self._look()
        if found is None or not self._is_ours(found):
            raise self._locked(found)

    def _write(self, version: str) -> bool:
        """Write the lease over this version, or as new; False if another process was faster."""
        # A counter gives each renewal a different ETag.
        self._beats += 1
        data = json.dumps(self._holder | {"beat": self._beats, "what": self._what}).encode()
        condition = Condition(
            version=version if self._kept.same else "", absent=self._kept.absent and not version
        )
        with answered(self._address.url):
            try:
                self._version = send_bytes(self._address, data, condition)
            except ClientError as error:
                if says(error, REFUSED | MISSING):
                    return False
                raise
        return True

    def _look(self) -> Found | None:
        while True:
            try:
                reading = Reading(self._address)
                data = b"".join(reading.blocks())
            except ManifestError:
                return None
            except IntegrityError:
                # It was renewed while it was read.
                RETRIES.pause(1)
                continue
            return _found(reading, data)

    def _is_ours(self, found: Found) -> bool:
        return found.holder.get("token") == self._holder["token"]

    def _locked(self, found: Found | None) -> LockedError:
        holder = found.holder if found else {}
        who = f"pid {holder.get('pid', 'unknown')} on {holder.get('host', 'an unknown host')}"
        return LockedError(
            f"{self._what} is being done by another process ({who})",
            f"wait for it, or stop it and wait {EXPIRY_SECONDS:g} s, then run again",
        )


@contextmanager
def leased(address: S3Address, what: str, kept: Conditions) -> Iterator[None]:
    """Hold a lease.

    Raises:
        LockedError: another process holds it.
    """
    lease = Lease(address, what, kept)
    lease.claim()
    owner = os.getpid()
    try:
        yield
    finally:
        # A forked child that ends here does not hold the lease.
        if os.getpid() == owner:
            lease.release()


def _found(reading: Reading, data: bytes) -> Found:
    holder: Any = None
    with suppress(ValueError):
        holder = json.loads(data)
    answer = reading.first
    age = (server_time(answer["ResponseMetadata"]) - answer["LastModified"]).total_seconds()
    return Found(reading.version, holder if isinstance(holder, dict) else {}, age)
