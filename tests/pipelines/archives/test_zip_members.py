"""Stored members: each kind of damage found out, in bounded memory."""

import bz2
import io
import random
import subprocess
import sys
import threading
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.archives.sources import Extent, extract
from storage.errors import IntegrityError
from storage.records import Track

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
SONG = random.Random(3).randbytes(400_000)


def packed(path: Path, data: bytes, stored: bytes, method: int) -> tuple[Extent, Track]:
    """Return a member whose stored bytes are others than its directory's; the header is true."""
    name = b"a.mp3"
    crc = zlib.crc32(data)
    with path.open("wb") as stream:
        header = [b"PK\3\4", *(n.to_bytes(2, "little") for n in (20, 0, method, 0, 0))]
        header += [n.to_bytes(4, "little") for n in (crc, len(stored), len(data))]
        stream.write(b"".join([*header, b"\5\0\0\0", name, stored, b"next member"]))
    track = Track(
        id="1", member="a.mp3", bytes=len(data), crc=crc, packed_bytes=len(stored), method=method
    )
    return Extent(path, 0, path.stat().st_size, "songs.zip"), track


def compress(data: bytes, method: int) -> bytes:
    if method == zipfile.ZIP_DEFLATED:
        deflate = zlib.compressobj(wbits=-15)
        return deflate.compress(data) + deflate.flush()
    return bz2.compress(data) if method == zipfile.ZIP_BZIP2 else data


@pytest.mark.parametrize("method", METHODS)
def test_damage_names_member_and_archive(tmp_path: Path, method: int) -> None:
    whole = compress(SONG, method)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0x10
    damaged = {
        "flipped": bytes(flipped),
        "cut": whole[: len(whole) // 3],
        "cut at the end": whole[:-1],
        "empty": b"",
        "trailing": whole + b"garbage" * 5,
        "twice": whole + whole,
        "other": compress(SONG[::-1], method),
        "longer": compress(SONG + b"x", method),
        "shorter": compress(SONG[:-1], method),
        "noise": SONG[:100_000],
    }
    for kind, stored in damaged.items():
        target = io.BytesIO()
        with pytest.raises(IntegrityError, match=r"a\.mp3 in songs\.zip is damaged") as caught:
            extract(*packed(tmp_path / kind, SONG, stored, method), target)
        assert "()" not in str(caught.value)
        assert len(target.getvalue()) <= len(SONG), kind


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), method=st.sampled_from(METHODS[1:]))
def test_mutated_streams_are_found_out(
    seed: int, method: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    chance = random.Random(seed)
    data = chance.randbytes(chance.randrange(2000))
    stored = bytearray(compress(data, method))
    for _ in range(chance.choice([1, 1, 3, 20])):
        stored[chance.randrange(len(stored))] ^= 1 << chance.randrange(8)
    path = tmp_path_factory.mktemp("mutated") / "a"
    target = io.BytesIO()
    try:
        extract(*packed(path, data, bytes(stored), method), target)
    except IntegrityError:
        assert len(target.getvalue()) <= len(data)
    else:
        # Some bits of a stream are free.
        assert target.getvalue() == data


BOMB = """
import sys
from pathlib import Path
from pipelines.archives.sources import Extent, extract
from storage.errors import IntegrityError
from storage.records import Track
def peak():
    # Not getrusage's figure: that one begins with what the parent process held.
    lines = Path("/proc/self/status").read_text().split("\\n")
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024
before = peak()
track = Track.model_validate_json(sys.argv[2])
with open("/dev/null", "wb") as target:
    try:
        extract(Extent(Path(sys.argv[1]), 0, Path(sys.argv[1]).stat().st_size), track, target)
    except IntegrityError as error:
        print("refused" if "holds more than" in str(error) else error)
print(peak() - before)
"""


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize(("size", "promised"), [(100_000_000, 1000), (300_000_000, 300_000_000)])
def test_memory_is_bounded_whatever_the_size(
    tmp_path: Path, method: int, size: int, promised: int
) -> None:
    """A bomb is stopped where its promise ends; a member that is honestly long is extracted."""
    zeros = bytes(size)
    extent, track = packed(tmp_path / "a", zeros, compress(zeros, method), method)
    if promised < track.bytes:
        raw = extent.path.read_bytes().replace(
            track.bytes.to_bytes(4, "little"), promised.to_bytes(4, "little"), 1
        )
        extent.path.write_bytes(raw)
        track = track.model_copy(update={"bytes": promised})
    answer = subprocess.run(
        [sys.executable, "-c", BOMB, str(extent.path), track.model_dump_json()],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3],
    ).stdout.split()  # fmt: skip
    assert answer[:-1] == (["refused"] if promised == 1000 else [])
    assert int(answer[-1]) < 30, "MiB"


def test_no_thread_stays_behind(tmp_path: Path) -> None:
    before = threading.active_count(), len(list(Path("/proc/self/task").iterdir()))
    extent, track = packed(tmp_path / "a", SONG, bz2.compress(SONG), zipfile.ZIP_BZIP2)
    extract(extent, track, io.BytesIO())
    assert (threading.active_count(), len(list(Path("/proc/self/task").iterdir()))) == before
