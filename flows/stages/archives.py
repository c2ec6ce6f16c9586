"""How archives are obtained: found here, downloaded whole, or read in place from a server.

Each way leaves a receipt that says what the archive is, and the stages that follow are keyed by it.
So an archive may move from one disk to another and nothing is done again, while another archive
under an old name is noticed.

Builders import what they build with: a command that only looks stages up starts sooner.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from flows.config import SourceConfig
from flows.stages.stage import Built, Inputs, Site, Stage, Watch
from pipelines.archives.folder_digest import check_folder, folder_state
from pipelines.archives.known_archives import Published, published
from storage.config import Config, Json
from storage.errors import ConfigError, DataError
from storage.files import write_json
from storage.home import marks
from storage.manifests import write_rows
from storage.names.spelling import is_text, printable

RECEIPT = "archive.json"
WARNINGS = 100
"""Of one folder that are always shown."""
TRACKS = "tracks.jsonl"
"""Labels of what finding an archive leaves; a folder's tracks are listed with it."""


class Wanted(NamedTuple):
    """An archive or folder that a corpus is made of."""

    name: str
    """Of the file or folder in the data root."""
    sha1: str | None = None
    md5: str | None = None
    """Published checksums from the configuration; by default those published for the name."""
    form: Literal["zip", "folder", "stems"] = "zip"
    """A zip, a folder of songs, or a folder of stems."""
    in_place: bool = False
    """Whether its members can be read where a server has them."""
    connections: int = 6
    """To its server at a time."""


class Found(NamedTuple):
    """How an archive is obtained: the stage that does it, and where the archive is then."""

    verb: str
    stage: Stage
    config: Config
    location: str
    """An absolute path, or an address."""


class ArchiveConfig(Config):
    """One archive or folder to check: its present state, and its published checksums.

    Of a folder, `bytes` are those of all its files, and the time is its newest file's.
    """

    path: str
    bytes: int
    mtime_ns: int
    sha1: str | None
    md5: str | None


class RemoteConfig(Config):
    """One archive on a server."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"connections", "root"})

    known: Json
    """What is published of it."""
    connections: int
    root: str
    """Folder that it is downloaded to."""

    @property
    def archive(self) -> Published:
        """What is published of it."""
        return Published.model_validate(self.known)


def find(data: SourceConfig, wanted: Wanted) -> Found:
    """Return how an archive is obtained.

    Raises:
        ConfigError: it is to be downloaded, but no server is known to have it; or its path is not
            UTF-8.
    """
    path = Path(data.root).expanduser().resolve() / wanted.name
    if not is_text(path):
        raise ConfigError(
            f"{printable(path)}: the name of a folder in data.root is not UTF-8, and cannot be "
            "recorded; rename it (names of the files in it may be any bytes)"
        )
    in_place = wanted.in_place and data.access == "range"
    if wanted.form == "folder":
        return Found("list", LIST, _present_state(path, wanted), str(path))
    if wanted.form == "stems" or data.access == "local" or (path.exists() and not in_place):
        return Found("check", CHECK, _present_state(path, wanted), str(path))
    archive = _on_server(data, wanted)
    config = RemoteConfig(
        known=archive.model_dump(mode="json"), connections=wanted.connections, root=str(path.parent)
    )
    if in_place:
        return Found("pin", PIN, config, archive.address())
    return Found("download", DOWNLOAD, config, str(path))


def _on_server(data: SourceConfig, wanted: Wanted) -> Published:
    address = published(wanted.name)
    if address is None and not data.mirror:
        raise ConfigError(
            f"no server is known to have {wanted.name}; put it in {data.root}, or name the address "
            "of a folder that serves it with --set data.mirror=URL"
        )
    archive = _known(wanted)
    if address:
        archive = archive.model_copy(update={"url": address.url, "how": address.how})
    return archive.at(data.mirror) if data.mirror else archive


def _known(wanted: Wanted) -> Published:
    """Return what is known of an archive: the checksums given, else what is published.

    Given checksums replace those of a published archive of the same name.
    """
    if wanted.sha1 or wanted.md5:
        return Published(name=wanted.name, url=None, sha1=wanted.sha1, md5=wanted.md5)
    return published(wanted.name) or Published(name=wanted.name, url=None)


def _present_state(path: Path, wanted: Wanted) -> ArchiveConfig:
    """Identify a file or folder by its size and time: a changed one is checked again."""
    known = _known(wanted)
    size, newest = 0, 0
    if path.is_dir():
        size, newest = folder_state(path)
    elif path.is_file():
        size, newest = path.stat().st_size, path.stat().st_mtime_ns
        if known.bytes not in (None, size):
            raise DataError(
                f"{path} has {size} bytes, not {known.bytes} as published; it is truncated or "
                "another release: move it away, and download it with --set data.access=download"
            )
    return ArchiveConfig(
        path=str(path), bytes=size, mtime_ns=newest, sha1=known.sha1, md5=known.md5
    )


def _check(site: Site, config: ArchiveConfig, inputs: Inputs) -> Built:
    """Read an archive that is here; compare its checksums with those published."""
    from pipelines.archives.zip_archive import check_archive

    path = Path(config.path)
    count = counter(site.watch, config.bytes)
    sha1 = (
        check_folder(path, count)
        if path.is_dir()
        else check_archive(path, config.sha1, config.md5, count)
    )
    return _receipt(site, {"archive": path.name, "bytes": config.bytes, "sha1": sha1})


def _list(site: Site, config: ArchiveConfig, inputs: Inputs) -> Built:
    """Read every song of a folder once and list them."""
    from pipelines.tracks.folder import read_folder

    path = Path(config.path)
    tracks = read_folder(path, counter(site.watch, config.bytes), _warnings(site.watch))
    listed = site.home.archives / f"{site.key}.jsonl"
    write_rows(listed, tracks)
    facts = {"archive": path.name, "bytes": config.bytes, "tracks": len(tracks)}
    return Built({TRACKS: listed}, facts)


def _warnings(watch: Watch) -> Callable[[str], None]:
    """Return a function that reports a sentence: the first ones always, the rest now and then."""
    left = WARNINGS

    def warn(sentence: str) -> None:
        nonlocal left
        left -= 1
        watch.log(sentence, logging.WARNING if left >= 0 else logging.INFO)

    return warn


def _download(site: Site, config: RemoteConfig, inputs: Inputs) -> Built:
    """Download a whole archive and compare its checksums with those published."""
    from pipelines.archives.download import Download, download

    archive = config.archive
    path = Path(config.root) / archive.name
    sizes = counter(site.watch, archive.bytes or 0)
    sha1 = download(Download(archive, path, fetched=sizes), config.connections)
    facts = {"archive": path.name, "bytes": path.stat().st_size, "sha1": sha1}
    built = _receipt(site, facts)
    # From now on the archive is found here; having just been compared, it is not read again.
    wanted = Wanted(archive.name, archive.sha1, archive.md5)
    check = CHECK.work(_present_state(path, wanted), {})
    with site.home.alone(check.name, f"stage {CHECK.name}"):
        marks.commit(site.home, check, built.outputs, facts, 0.0)
    return built


def _pin(site: Site, config: RemoteConfig, inputs: Inputs) -> Built:
    """Record which file a server has, so that no other is read in its place.

    Its sha1 cannot be compared without reading all of it. The tracks are verified by the ETag that
    every range is requested with, by each member's CRC, and by each track's own sha1.
    """
    from pipelines.archives.sources import pinned

    source = pinned(config.archive)
    facts: Json = {"archive": config.archive.name, "bytes": source.bytes, "etag": source.etag}
    return _receipt(site, {**facts, "whole_archive_verified": False})


def _receipt(site: Site, facts: Json) -> Built:
    receipt = site.home.archives / f"{site.key}.json"
    write_json(receipt, facts)
    return Built({RECEIPT: receipt}, facts)


def counter(watch: Watch, total: int) -> Callable[[int], None]:
    """Return a function that adds up the bytes done and reports them."""
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        watch(done, max(total, done), "bytes")

    return count


CHECK = Stage("check-archive", 1, _check)
LIST = Stage("list-folder", 2, _list)
DOWNLOAD = Stage("download-archive", 1, _download)
PIN = Stage("pin-archive", 1, _pin)
