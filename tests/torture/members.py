"""Zips whose members are damaged as they are stored; the directory is left readable."""

import bz2
import hashlib
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from pipelines.archives.zip_archive import ArchiveReader
from pipelines.archives.zip_members import HEADER, Member
from tests.synthesised import DAY, Archives, tracks_csv, write_zip
from tests.torture.mutants import Mutant

CRC, PACKED, PLAIN = 14, 18, 22
"""Where these stand in a local header."""
METHODS = (zipfile.ZIP_BZIP2, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED)
DAMAGED = 0.25
"""Share of members that are damaged as stored, whatever their content."""

Harm = Callable[[bytearray, Member, int, random.Random], None]


def _flip_stored(data: bytearray, member: Member, begin: int, chance: random.Random) -> None:
    for _ in range(chance.choice([1, 5, 50])):
        data[begin + chance.randrange(member.packed_bytes)] ^= 1 << chance.randrange(8)


def _blank_stored(data: bytearray, member: Member, begin: int, chance: random.Random) -> None:
    start = chance.randrange(member.packed_bytes)
    length = min(member.packed_bytes - start, chance.choice([10, 4096, 1 << 20]))
    data[begin + start : begin + start + length] = bytes(length)


def _bend_header(data: bytearray, member: Member, _: int, chance: random.Random) -> None:
    place, value = chance.choice([CRC, PACKED, PLAIN]), chance.choice([0, 1, 5000, 0xFFFFFFFF])
    struct.pack_into("<L", data, member.offset + place, value)


def _blank_header(data: bytearray, member: Member, begin: int, _: random.Random) -> None:
    data[member.offset : begin] = bytes(begin - member.offset)


def _flip_header(data: bytearray, member: Member, begin: int, chance: random.Random) -> None:
    for _ in range(chance.choice([1, 3])):
        data[chance.randrange(member.offset, begin)] ^= 1 << chance.randrange(8)


def _swap_stream(data: bytearray, member: Member, begin: int, chance: random.Random) -> None:
    """Put the beginning of another stream there: a bomb that claims to be small."""
    bomb = _bomb(chance.choice(["bzip2", "deflate"]))
    data[begin : begin + min(len(bomb), member.packed_bytes)] = bomb[: member.packed_bytes]


@cache
def _bomb(kind: str) -> bytes:
    content = bytes(50_000_000)
    # A zlib stream without its head is what a zip stores.
    return bz2.compress(content) if kind == "bzip2" else zlib.compress(content)[2:]


HARMS: dict[str, Harm] = {
    "stored bytes flipped": _flip_stored,
    "stored bytes blank": _blank_stored,
    "header's numbers": _bend_header,
    "header blank": _blank_header,
    "header flipped": _flip_header,
    "another stream": _swap_stream,
}


def write_damaged(
    folder: Path, mutants: Sequence[Mutant], seed: int
) -> tuple[Archives, dict[str, str]]:
    """Write an archive of damaged recordings; return it, and what was done to each by its id."""
    chance = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    archives = Archives(folder / "damaged.zip", folder / "damaged_metadata.zip")
    names = [f"{number + 2:06d}" for number in range(len(mutants))]
    done = {name: mutant.kind for name, mutant in zip(names, mutants, strict=True)}
    _write(archives.archive, dict(zip(names, mutants, strict=True)), chance)
    with ArchiveReader(archives.archive) as reader:
        places = {member.name[4:10]: member for member in reader.members()}
    data = bytearray(archives.archive.read_bytes())
    for name in names:
        member = places[name]
        if chance.random() < DAMAGED and member.packed_bytes and done[name] != "whole":
            harm = chance.choice(list(HARMS))
            fields = HEADER.unpack_from(data, member.offset)
            begin = member.offset + HEADER.size + fields[-2] + fields[-1]
            HARMS[harm](data, member, begin, chance)
            done[name] = harm
    archives.archive.write_bytes(data)
    write_zip(archives.metadata, {"fma_metadata/tracks.csv": tracks_csv(names)})
    return archives, done


def _write(path: Path, songs: dict[str, Mutant], chance: random.Random) -> None:
    """Write a zip of several methods; one sum in fifty is another's."""
    sums = {
        name: hashlib.sha1(
            song.data if chance.random() > 0.02 or song.kind == "whole" else name.encode()
        )
        for name, song in songs.items()
    }
    lines = "".join(f"{sha1.hexdigest()}  {n[:3]}/{n}.mp3\n" for n, sha1 in sums.items())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("checksums", DAY), lines)
        for name, song in songs.items():
            info = zipfile.ZipInfo(f"{name[:3]}/{name}.mp3", DAY)
            info.compress_type = chance.choice(METHODS)
            archive.writestr(info, song.data)
