"""Where archives come from: found here, downloaded whole, or read where a server has them.

Each way leaves a slip that says what the archive is, and whatever follows is keyed by the slip. So
an archive may move from one disk to another and nothing is done again, while another archive under
an old name is noticed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from flows.config import SourceConfig
from flows.stages.stage import Built, Inputs, Site, Stage, Watch
from pipelines.archives.download import Download, download
from pipelines.archives.folder_digest import check_folder, folder_state
from pipelines.archives.published import Published, published
from pipelines.archives.sources import pinned
from pipelines.archives.zip_archive import check_archive
from pipelines.tracks.folder import read_folder
from storage.config import Config, Json
from storage.errors import ConfigError, DataError
from storage.files import write_json
from storage.home import marks
from storage.manifests import write_rows

SLIP = "archive.json"
TRACKS = "tracks.jsonl"
"""Labels of what finding an archive leaves; a folder's tracks are listed with it."""


class Wanted(NamedTuple):
    """An archive or folder that a corpus is made of."""

    name: str
    """Of the file or folder in the data root."""
    sha1: str | None = None
    md5: str | None = None
    """Published sums, where the configuration names them; else those known of the name."""
    form: Literal["zip", "folder", "stems"] = "zip"
    """A zip, a folder of songs, or a folder of stems."""
    in_place: bool = False
    """Whether its members can be read where a server has them."""
    connections: int = 6
    """To its server at a time."""


class Found(NamedTuple):
    """How an archive is come by: the stage that sees to it, and where the archive is then."""

    verb: str
    stage: Stage
    config: Config
    location: str
    """An absolute path, or an address."""


class ArchiveConfig(Config):
    """One archive or folder to check: which, as it is now, and what it should be.

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
    """Return how an archive is come by.

    Raises:
        ConfigError: it is to be downloaded, but no server is known to have it.
    """
    path = Path(data.root).expanduser().resolve() / wanted.name
    in_place = wanted.in_place and data.access == "range"
    if wanted.form == "folder":
        return Found("list", LIST, _as_it_is(path, wanted), str(path))
    if wanted.form == "stems" or data.access == "local" or (path.exists() and not in_place):
        return Found("check", CHECK, _as_it_is(path, wanted), str(path))
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
    """Return what is known of an archive: the sums that are given, else what is published.

    Who gives sums means that archive, whatever the published one of the same name is.
    """
    if wanted.sha1 or wanted.md5:
        return Published(name=wanted.name, url=None, sha1=wanted.sha1, md5=wanted.md5)
    return published(wanted.name) or Published(name=wanted.name, url=None)


def _as_it_is(path: Path, wanted: Wanted) -> ArchiveConfig:
    """Say which file or folder is meant by what it is now: a changed one is another to check."""
    known = _known(wanted)
    size, newest = 0, 0
    if path.is_dir():
        size, newest = folder_state(path)
    elif path.is_file():
        size, newest = path.stat().st_size, path.stat().st_mtime_ns
        if known.bytes not in (None, size):
            raise DataError(
                f"{path} has {size} bytes, not {known.bytes} as published; it is cut short or "
                "another release: move it away, and fetch it with --set data.access=download"
            )
    return ArchiveConfig(
        path=str(path), bytes=size, mtime_ns=newest, sha1=known.sha1, md5=known.md5
    )


def _check(site: Site, config: ArchiveConfig, inputs: Inputs) -> Built:
    """Read an archive that is here; compare its sums with those published."""
    path = Path(config.path)
    count = counter(site.watch, config.bytes)
    sha1 = (
        check_folder(path, count)
        if path.is_dir()
        else check_archive(path, config.sha1, config.md5, count)
    )
    return _slip(site, {"archive": path.name, "bytes": config.bytes, "sha1": sha1})


def _list(site: Site, config: ArchiveConfig, inputs: Inputs) -> Built:
    """Read every song of a folder once and list them."""
    path = Path(config.path)
    tracks = read_folder(path, counter(site.watch, config.bytes), site.watch.log)
    listed = site.home.archives / f"{site.key}.jsonl"
    write_rows(listed, tracks)
    facts = {"archive": path.name, "bytes": config.bytes, "tracks": len(tracks)}
    return Built({TRACKS: listed}, facts)


def _download(site: Site, config: RemoteConfig, inputs: Inputs) -> Built:
    """Fetch an archive whole and compare its sums with those published."""
    archive = config.archive
    path = Path(config.root) / archive.name
    sizes = counter(site.watch, archive.bytes or 0)
    sha1 = download(Download(archive, path, fetched=sizes), config.connections)
    facts = {"archive": path.name, "bytes": path.stat().st_size, "sha1": sha1}
    built = _slip(site, facts)
    # From now on the archive is found here. What was just compared is not read again for that.
    wanted = Wanted(archive.name, archive.sha1, archive.md5)
    check = CHECK.work(_as_it_is(path, wanted), {})
    with site.home.alone(check.name, f"stage {CHECK.name}"):
        marks.commit(site.home, check, built.outputs, facts, 0.0)
    return built


def _pin(site: Site, config: RemoteConfig, inputs: Inputs) -> Built:
    """Note which file a server has, so that no other is read in its place.

    Its sha1 cannot be compared without reading all of it. What vouches for the tracks is the ETag
    that every range is asked for with, each member's CRC, and each track's own sha1.
    """
    source = pinned(config.archive)
    facts: Json = {"archive": config.archive.name, "bytes": source.bytes, "etag": source.etag}
    return _slip(site, {**facts, "whole_archive_verified": False})


def _slip(site: Site, facts: Json) -> Built:
    slip = site.home.archives / f"{site.key}.json"
    write_json(slip, facts)
    return Built({SLIP: slip}, facts)


def counter(watch: Watch, total: int) -> Callable[[int], None]:
    """Return what adds up bytes as they are done."""
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        watch(done, max(total, done), "bytes")

    return count


CHECK = Stage("check-archive", 1, _check)
LIST = Stage("list-folder", 1, _list)
DOWNLOAD = Stage("download-archive", 1, _download)
PIN = Stage("pin-archive", 1, _pin)
