"""`open_home`: from the text of `--home` to a home in a folder or in a bucket."""

from pathlib import Path

from storage.config import digest_of
from storage.environment import SCRATCH
from storage.errors import ConfigError
from storage.home.layout import Home
from storage.names.spelling import is_text, printable

WORKING_COPIES = SCRATCH.name
"""Environment variable: the folder for working copies of homes in buckets."""


def open_home(text: str) -> Home:
    """Return the home at a folder's path or at `s3://bucket/prefix`; it need not exist yet.

    Raises:
        ConfigError: the address is empty, malformed, of an unknown kind, a file's path, or not
            UTF-8.
        MachineError: there are no credentials, no rights, or no such bucket.
        SourceError: the bucket's server cannot be reached.
    """
    if text.startswith("s3://"):
        # A home in a folder needs no S3 library, which takes a second to import.
        from storage.stores.s3 import open_store  # noqa: PLC0415

        store = open_store(text)
        return Home(_working_copy(store.url), store)
    if "://" in text:
        raise ConfigError(f"--home {text}: give a folder, or s3://BUCKET/PREFIX")
    if not text.strip():
        raise ConfigError("--home is empty; give a folder, or s3://BUCKET/PREFIX")
    root = Path(text).expanduser().resolve()
    if not is_text(root):
        raise ConfigError(
            f"--home {printable(root)}: its name is not UTF-8, and cannot be recorded; rename the "
            "folder, or give another"
        )
    if root.exists() and not root.is_dir():
        raise ConfigError(f"--home {root} is a file; give a folder")
    return Home(root)


def open_existing(text: str) -> Home:
    """Return the home at an address, as `open_home` does, for a command that only reads it.

    Raises:
        ConfigError: there is no such folder: the name is mistyped, or nothing was run there yet.
    """
    home = open_home(text)
    if not home.remote and not home.root.is_dir():
        raise ConfigError(
            f"there is no home at {home.url}; run a study there first, or give another --home"
        )
    return home


def _working_copy(url: str) -> Path:
    """Return this machine's folder for a home in a bucket."""
    return SCRATCH.read() / digest_of(url)[:16]
