"""A home's objects in an S3 bucket; boto3 is imported in this package alone.

::

    address     s3://bucket/prefix, parsed
    client      the one client of a process: attempts, timeouts, endpoint, checksums
    errors      a server's refusals as errors of Stemworks
    conditions  whether a server supports conditional writes
    download    range requests that resume where a response broke off
    upload      one request, or a multipart upload above 5 GB
    lease       the lock, released if its holder dies
    store       `BucketStore`, made of these

Credentials come from boto3's own chain (environment, profile, instance) and are never read here.
"""

from storage.stores.s3.address import parse
from storage.stores.s3.store import BucketStore, open_store

__all__ = ["BucketStore", "open_store", "parse"]
