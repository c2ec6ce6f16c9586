"""Containers of chunks or of one header: WAV, RF64, BW64, W64, AIFF, AU, CAF.

libsndfile reads what is there up to the size that a header states, and reports neither sound that
is missing nor sound behind it; so the sizes are read here, and held against the file's own.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from storage.audio.decoding import Length
from storage.audio.walks.parts import Bytes, Extract, Part, Survey
from storage.audio.walks.resemblance import JUDGED_BYTES, is_sound
from storage.audio.walks.tags import sound_end, tag_bytes

ENDLESS_32 = 0x7FFF_0000
"""A writer that did not know the length stated as many bytes as this, or more."""
ENDLESS_64 = 1 << 62
CHUNK_BYTES = 8
"""Of the name and the size that a chunk begins with."""
SLACK_BYTES = 8
"""That may be missing: some writers count padding that they do not write."""
STRAY_BYTES = 1 << 14
"""Fewer bytes than this behind the sound, in no chunk, are not taken for sound: 0.09 s of a CD."""
W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


class Sound(NamedTuple):
    """Where a container has its sound."""

    start: int
    """First byte of it."""
    claimed: int | None
    """Bytes, as the header says; None if it does not."""
    sizes: tuple[tuple[int, str, int], ...] = ()
    """What states sizes: position, form for `struct`, and bytes to be added to those of the sound,
    from the file's first byte where that is negative."""


class Chunk(NamedTuple):
    """One chunk of a container."""

    name: bytes
    start: int
    """Of its content."""
    size: int


def chunks(file: Bytes, position: int, order: str) -> Iterator[Chunk]:
    """Yield the chunks of a RIFF or an AIFF, sizes as they are stated."""
    while position + 8 <= file.size:
        name, size = struct.unpack(order + "4sI", file.data[position : position + 8])
        yield Chunk(name, position + 8, size)
        position += 8 + size + size % 2


def find_sound(file: Bytes, start: int) -> Sound | None:
    """Return where the container that begins here has its sound; None if it is none of these."""
    head = file.data[start : start + 16]
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _riff(file, start)
    if head == W64_RIFF:
        return _w64(file, start)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(file, start)
    if head[:4] == b".snd":
        offset, size = struct.unpack(">II", head[4:12])
        return Sound(start + offset, None if size >= ENDLESS_32 else size, ((start + 8, ">I", 0),))
    if head[:4] == b"caff":
        return _caf(file, start)
    return None


def _riff(file: Bytes, start: int) -> Sound | None:
    big = 0
    for name, at, size in chunks(file, start + 12, "<"):
        if name == b"ds64":
            big = at
        if name != b"data":
            continue
        if big and size == 0xFFFF_FFFF:
            (claimed,) = struct.unpack("<Q", file.data[big + 8 : big + 16])
            unknown = claimed >= ENDLESS_64
            sizes = ((big, "<Q", at - start - 8), (big + 8, "<Q", 0))
            return Sound(at, None if unknown else claimed, sizes)
        sizes = ((start + 4, "<I", at - start - 8), (at - 4, "<I", 0))
        return Sound(at, None if size >= ENDLESS_32 else size, sizes)
    return None


def _w64(file: Bytes, start: int) -> Sound | None:
    position = start + 40
    while position + 24 <= file.size:
        name, size = struct.unpack("<16sQ", file.data[position : position + 24])
        if name == W64_DATA:
            claimed = None if size >= ENDLESS_64 else max(0, size - 24)
            sizes = ((start + 16, "<Q", position + 24 - start), (position + 16, "<Q", 24))
            return Sound(position + 24, claimed, sizes)
        if size < 24:
            return None
        position += (size + 7) // 8 * 8
    return None


def _aiff(file: Bytes, start: int) -> Sound | None:
    for name, at, size in chunks(file, start + 12, ">"):
        if name == b"SSND":
            claimed = None if size >= ENDLESS_32 else max(0, size - 8)
            sizes = ((start + 4, ">I", at + 8 - start - 8), (at - 4, ">I", 8))
            return Sound(at + 8, claimed, sizes)
    return None


def _caf(file: Bytes, start: int) -> Sound | None:
    position = start + 8
    while position + 12 <= file.size:
        name, size = struct.unpack(">4sq", file.data[position : position + 12])
        if name == b"data":
            # Four bytes of an edit count come before the sound; -1 is an unknown size.
            claimed = None if size < 0 or size >= ENDLESS_64 else max(0, size - 4)
            return Sound(position + 16, claimed, ((position + 4, ">q", 4),))
        position += 12 + max(0, size)
    return None


def survey_chunks(file: Bytes, start: int) -> Survey | None:
    """Return the sound of a container and of those joined to it; None for other files."""
    parts: list[Part] = []
    exact, stray, plain = True, 0, start == 0
    while (sound := find_sound(file, start)) is not None:
        end, following, behind = _ends(file, sound)
        there, claimed = end - sound.start, sound.claimed
        corrections: dict[int, bytes] = {}
        if claimed is None or abs(there - claimed) > SLACK_BYTES:
            exact &= bool(claimed)
            corrections = _corrections(file, sound, start, there)
        # libsndfile takes what lies behind the samples of a W64 for more of them.
        plain &= not corrections and not behind and following is None
        stop = following or (end if corrections or behind else file.size)
        parts.append(Extract(start, stop, corrections, there, claimed))
        stray += behind
        if following is None:
            break
        start = following
    if not parts:
        return None
    return Survey(
        tuple(parts), Length(0, "exact" if exact else "unknown"), plain, stray_bytes=stray
    )


def sound_bytes(file: Bytes, sound: Sound) -> int:
    """Return how many bytes of sound are there, whatever the header states."""
    return _ends(file, sound)[0] - sound.start


def _ends(file: Bytes, sound: Sound) -> tuple[int, int | None, int]:
    """Return where the sound ends, where a joined file begins, and the stray bytes behind it."""
    if sound.claimed is None:
        return max(sound.start, sound_end(file, sound.start)), None, 0
    end = sound.start + sound.claimed
    if end >= file.size:
        return file.size, None, 0
    for position in (end, end + end % 2):
        if find_sound(file, position) is not None:
            return end, position, 0
    if _only_chunks(file, end, least=0 if sound.claimed else CHUNK_BYTES):
        return end, None, 0
    last = sound_end(file, end)
    behind = last - end
    before = file.data[max(sound.start, end - JUDGED_BYTES) : end]
    if sound.claimed and (
        behind < STRAY_BYTES or not is_sound(file.data[end : end + JUDGED_BYTES], before)
    ):
        return end, None, behind
    return last, None, 0


def _only_chunks(file: Bytes, end: int, least: int) -> bool:
    """Say whether chunks or tags of `least` bytes or more fill the rest of the file.

    Samples hardly ever look like them.
    """
    return file.size - end >= least and any(
        _chunks_end(file, start) >= file.size - CHUNK_BYTES for start in (end, end + end % 2)
    )


def _chunks_end(file: Bytes, position: int) -> int:
    """Return where chunks and tags that follow each other end."""
    while position + CHUNK_BYTES <= file.size:
        name, sizes = file.data[position : position + 4], file.data[position + 4 : position + 8]
        length = tag_bytes(file, position, file.size)
        if not length:
            stated = min(int.from_bytes(sizes, "little"), int.from_bytes(sizes, "big"))
            length = CHUNK_BYTES + stated + stated % 2
            printable = name.isascii() and name.decode("ascii").isprintable()
            if not printable or position + length > file.size + 1:
                return position
        position += length
    return position


def _corrections(file: Bytes, sound: Sound, start: int, there: int) -> dict[int, bytes]:
    """Return the header's sizes as they should be, by position in the part."""
    return {
        position - start: struct.pack(form, there + more)
        if struct.calcsize(form) == 8 or there + more < 1 << 32
        else b"\xff" * struct.calcsize(form)
        for position, form, more in sound.sizes
    }
