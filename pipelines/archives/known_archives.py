"""The published archives: where they are, and what is known of their bytes.

The FMA's sums are those of its README (github.com/mdeff/fma); sizes and ETags those that its
server gave. MUSDB18-HQ's are those of Zenodo record 3338373, MoisesDB's those of its README.
"""

from storage.errors import IntegrityError, SourceError
from storage.records import Record

FMA = "https://os.unil.cloud.switch.ch/fma/"
BETA = {
    "e731a5d56a5625f7b7f770923ee32922374e2cbf": "fma_small.zip",
    "fe23d6f2a400821ed1271ded6bcd530b7a8ea551": "fma_medium.zip",
}
"""sha1 of the FMA's beta release (2016-12-06)."""


class Published(Record):
    """One archive as its publisher describes it. What is None is unknown until a server says it."""

    name: str
    url: str | None
    """None where there is no public address; `how` says where to ask then."""
    bytes: int | None = None
    sha1: str | None = None
    md5: str | None = None
    sha256: str | None = None
    etag: str | None = None
    how: str = ""

    def at(self, mirror: str) -> "Published":
        """Return the same archive on another server, in a folder that holds it under its name.

        Size and sums stand; the ETag is the other server's own.
        """
        return self.model_copy(update={"url": f"{mirror.rstrip('/')}/{self.name}", "etag": None})

    def address(self) -> str:
        """Return the archive's URL.

        Raises:
            SourceError: it has none; says how to get the archive.
        """
        if self.url is None:
            raise SourceError(f"{self.name} cannot be downloaded: {self.how}")
        return self.url

    def require(self, size: int | None, etag: str) -> None:
        """Compare what a server says of its file, size in bytes, with what is published.

        Raises:
            SourceError: they contradict each other.
        """
        stated = [("bytes", size, self.bytes), ("ETag", etag or None, self.etag)]
        for what, found, known in stated:
            if found is not None and known is not None and found != known:
                raise SourceError(
                    f"{self.url} has {what} {found}, not {known} as published; the server holds "
                    "another release: name another one with data.mirror"
                )


_ARCHIVES = (
    Published(
        name="fma_metadata.zip",
        url=FMA + "fma_metadata.zip",
        bytes=358_412_441,
        sha1="f0df49ffe5f2a6008d7dc83c6915b31835dfe733",
        sha256="d9527a5297a65da31c5676484d5047c3e2b8a8060ce72a46e26158be736bf265",
        etag='"64dd28f582705ace094de08c63643be6-69"',
    ),
    Published(
        name="fma_small.zip",
        url=FMA + "fma_small.zip",
        bytes=7_679_594_875,
        sha1="ade154f733639d52e35e32f5593efe5be76c6d70",
        etag='"0c99b6eda4ec8d7f62f635c4f65d7c9f-1465"',
    ),
    Published(
        name="fma_medium.zip",
        url=FMA + "fma_medium.zip",
        bytes=23_825_005_356,
        sha1="c67b69ea232021025fca9231fc1c7c1a063ab50b",
    ),
    Published(
        name="fma_large.zip",
        url=FMA + "fma_large.zip",
        bytes=100_306_112_191,
        sha1="497109f4dd721066b5ce5e5f250ec604dc78939e",
        etag='"150d434dec77ecfcfa78aea547235a0f-9566"',
    ),
    Published(
        name="fma_full.zip",
        url=FMA + "fma_full.zip",
        sha1="0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab",
    ),
    Published(
        name="musdb18hq.zip",
        url="https://zenodo.org/records/3338373/files/musdb18hq.zip?download=1",
        bytes=22_656_664_047,
        md5="12d4f2ecd55245a4688754dd76363103",
        sha256="baac80d0483c61d74b2e5f3be75fa557eec52898339e6aa45c1fa48833c5d21d",
    ),
    Published(
        name="moisesdb.zip",
        url=None,
        md5="13cf74eda129c38b914a51ea79fb1778",
        sha256="4cde33ce416ac7c868cffcb60eb31f5c741ab7ae5601cbb9d99ed498b72c48c1",
        how="its publisher hands it out on request; ask at https://music.ai/research and put the "
        "file in the folder that data.root names",
    ),
)
_BY_NAME = {archive.name: archive for archive in _ARCHIVES}


def published(name: str) -> Published | None:
    """Return what is known of the archive of a file name, as in `fma_full.zip`; None if nothing."""
    return _BY_NAME.get(name)


def require_final(what: str, sha1: str) -> None:
    """Refuse a withdrawn release, given an archive's sha1 in hex.

    Raises:
        IntegrityError: it is the FMA's beta release.
    """
    if beta := BETA.get(sha1.lower()):
        raise IntegrityError(
            f"{what} has the sha1 {sha1} of the withdrawn beta release of {beta} (2016-12-06), "
            "whose tracks differ; fetch the release of 2017-05-09"
        )
