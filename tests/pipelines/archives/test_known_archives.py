"""What is known of the published archives."""

import re

import pytest

from pipelines.archives.known_archives import BETA, Published, published, require_final
from storage.errors import IntegrityError, SourceError

NAMES = ["small", "medium", "large", "full", "metadata"]


@pytest.mark.parametrize("name", [f"fma_{name}.zip" for name in NAMES] + ["musdb18hq.zip"])
def test_archives_are_pinned(name: str) -> None:
    archive = published(name)
    assert archive is not None
    assert archive.name == name
    assert name in archive.address()
    assert archive.sha1 or archive.md5
    for kind, digits in (("sha1", 40), ("md5", 32), ("sha256", 64)):
        assert re.fullmatch(f"[0-9a-f]{{{digits}}}", getattr(archive, kind) or "0" * digits)
    assert archive.sha1 not in BETA
    assert re.fullmatch(r'"[0-9a-f]{32}-\d+"', archive.etag or f'"{"0" * 32}-1"')


def test_sizes_are_those_the_etags_part_counts_allow() -> None:
    """A multipart ETag ends with the number of its parts: of 5 MiB, and of 10 MiB for the large."""
    for name, part in (("small", 5 << 20), ("metadata", 5 << 20), ("large", 10 << 20)):
        archive = published(f"fma_{name}.zip")
        assert archive is not None and archive.bytes and archive.etag
        assert -(-archive.bytes // part) == int(archive.etag.strip('"').split("-")[1])


def test_unknown_names_have_nothing() -> None:
    assert published("fma_huge.zip") is None


def test_what_has_no_address_says_where_to_ask() -> None:
    archive = published("moisesdb.zip")
    assert archive is not None and archive.md5 and archive.sha256
    with pytest.raises(SourceError, match=r"moisesdb\.zip cannot be downloaded: .*research"):
        archive.address()


def test_a_mirror_keeps_sums_and_size_but_no_etag() -> None:
    small = published("fma_small.zip")
    assert small is not None
    for mirror in ("http://host/folder", "http://host/folder/"):
        there = small.at(mirror)
        assert there.address() == "http://host/folder/fma_small.zip"
        assert (there.sha1, there.bytes, there.etag) == (small.sha1, small.bytes, None)


def test_contradictions_are_refused() -> None:
    archive = Published(name="a.zip", url="http://host/a.zip", bytes=5, etag='"e"')
    archive.require(5, '"e"')
    # What the server does not say contradicts nothing.
    archive.require(None, "")
    with pytest.raises(SourceError, match=r"a\.zip has bytes 6, not 5 as published"):
        archive.require(6, '"e"')
    with pytest.raises(SourceError, match='has ETag "f", not "e" as published'):
        archive.require(5, '"f"')
    Published(name="a.zip", url="http://host/a.zip").require(7, '"any"')


def test_the_beta_release_is_refused() -> None:
    for sha1, name in BETA.items():
        with pytest.raises(IntegrityError, match=f"beta release of {name}"):
            require_final("a.zip", sha1.upper())
    require_final("a.zip", "0" * 40)
