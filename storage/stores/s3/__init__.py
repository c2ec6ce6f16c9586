"""A home's objects in an S3 bucket; boto3 is known in this room alone.

::

    address     s3://bucket/prefix, taken apart
    client      the one client of a process: attempts, timeouts, endpoint, checksums
    faults      what a server refuses, as one of our errors
    conditions  whether a server keeps the conditions of a write
    download    ranges that go on where a body broke off
    upload      one request, or parts above 5 GB
    lease       the lock that dies with its holder
    store       `BucketStore`, made of these

Credentials come from boto3's own chain (environment, profile, instance) and are never read here.
"""

from storage.stores.s3.address import parse
from storage.stores.s3.store import BucketStore, open_store

__all__ = ["BucketStore", "open_store", "parse"]
