"""Recordings damaged in every way that a disk, a network, a publisher or an enemy could think of.

Each mutation takes a good recording, another, and a source of chance; the same chance gives the
same bytes.
"""

import io
import random
import re
import struct
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import av
import numpy as np

from tests.pipelines.packing.damage import claiming, id3
from tests.synthesised import as_file, tune, untagged

Mutation = Callable[[bytes, bytes, random.Random], bytes]
FRAME = re.compile(rb"\xff[\xfa\xfb\xf2\xf3]")
"""Where MPEG frames of layer III may begin."""


class Mutant(NamedTuple):
    """One damaged recording."""

    kind: str
    data: bytes
    harmless: bool = False
    """Whether all of its sound is there, so that it must be kept."""


@cache
def originals() -> tuple[bytes, ...]:
    """Return MP3s of several forms, each long enough for one clip or two."""
    return (
        as_file(tune(11.0)),
        untagged(as_file(tune(12.0, 330.0))),
        as_file(tune(16.0, 440.0, 48_000), 48_000),
        as_file(tune(11.0, 550.0, channels=1)),
        id3(2000, bytes(2000)) + as_file(tune(10.5, 660.0)),
    )


@cache
def foreigners() -> tuple[bytes, ...]:
    """Return what else is found under the name of an MP3."""
    sound = tune(11.0, 300.0)
    made = [as_file(sound, kind=kind) for kind in ("WAV", "OGG", "FLAC", "AIFF", "CAF", "W64")]
    return (*made, _muxed("mp4", "aac"), _muxed("matroska", "aac"), _muxed("adts", "aac"))


def _muxed(container: str, codec: str) -> bytes:
    """Return a song in a container that FFmpeg writes."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", container) as output:
        stream: Any = output.add_stream(codec, rate=44_100, layout="stereo")
        sound = tune(11.0, 500.0)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), "fltp", "stereo")
        frame.sample_rate = 44_100
        for one in (frame, None):
            for packet in stream.encode(one):
                output.mux(packet)
    return buffer.getvalue()


def truncated(song: bytes, _: bytes, chance: random.Random) -> bytes:
    return song[: chance.choice([chance.randrange(len(song)), chance.randrange(3000)])]


def flipped(song: bytes, _: bytes, chance: random.Random) -> bytes:
    altered = bytearray(song)
    for _time in range(chance.choice([1, 4, 30, 300])):
        altered[chance.randrange(len(song))] ^= 1 << chance.randrange(8)
    return bytes(altered)


def head_flipped(song: bytes, _: bytes, chance: random.Random) -> bytes:
    altered = bytearray(song)
    for _time in range(chance.choice([1, 3, 10])):
        altered[chance.randrange(min(200, len(song)))] = chance.choice([0, 255, 127, 1])
    return bytes(altered)


def spliced(song: bytes, other: bytes, chance: random.Random) -> bytes:
    here, there = chance.randrange(len(song)), chance.randrange(len(other))
    return song[:here] + other[there:] + (song[here:] if chance.random() < 0.3 else b"")


def wrong_headers(song: bytes, _: bytes, chance: random.Random) -> bytes:
    """Version, layer, bit rate, rate, padding or mode of some frames, or of all, is another."""
    altered, share = bytearray(song), chance.choice([0.01, 0.2, 1.0])
    place, bits = chance.choice([(1, 0x18), (1, 0x06), (2, 0xF0), (2, 0x0C), (3, 0xC0), (1, 0x01)])
    value = chance.randrange(256) & bits
    for found in FRAME.finditer(song):
        if chance.random() < share:
            at = found.start() + place
            if at < len(altered):
                altered[at] = altered[at] & ~bits | value
    return bytes(altered)


def absurd_id3(song: bytes, _: bytes, chance: random.Random) -> bytes:
    claimed = chance.choice([0, 1, 500, len(song) // 2, len(song), 10**6, (1 << 28) - 1])
    tag = id3(claimed, chance.randbytes(chance.choice([0, 500, 5000])))
    broken = tag[:3] + bytes([chance.randrange(256), 0, chance.randrange(256)]) + tag[6:]
    size = tag[:6] + chance.randbytes(4) + tag[10:]
    return chance.choice([tag, tag * 50, broken, size]) + song


def gap(song: bytes, _: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(len(song)), chance.choice([50, 4096, 50_000])
    filling = chance.choice([bytes(length), b"\xff" * length, chance.randbytes(length)])
    return song[:start] + filling[: len(song) - start] + song[start + length :]


def prefixed(song: bytes, _: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice([1, 400, 5000, 70_000])) + song


def repeated_frames(song: bytes, _: bytes, chance: random.Random) -> bytes:
    starts = [found.start() for found in FRAME.finditer(song)]
    begin = chance.choice(starts)
    end = min(begin + chance.randrange(400, 20_000), len(song))
    return song[:end] + song[begin:end] * chance.randrange(1, 30) + song[end:]


def changes_form(song: bytes, other: bytes, chance: random.Random) -> bytes:
    slow = as_file(tune(3.0, 200.0, 22_050, 1), 22_050)
    return chance.choice([song + slow, slow + song, song + other, song[:50_000] + slow + song])


def lying(song: bytes, _: bytes, chance: random.Random) -> bytes:
    """State another length than there is."""
    if b"Xing" not in song and b"Info" not in song:
        return flipped(song, song, chance)
    return claiming(song, chance.choice([0.0, 0.5, 1.02, 3.0, 100_000.0]))


def foreign(_: bytes, __: bytes, chance: random.Random) -> bytes:
    return chance.choice(foreigners()) + chance.randbytes(3)


def foreign_damaged(song: bytes, other: bytes, chance: random.Random) -> bytes:
    damage = chance.choice([truncated, flipped, head_flipped, gap])
    return damage(chance.choice(foreigners()), other, chance)


def absurd_wav(_: bytes, __: bytes, chance: random.Random) -> bytes:
    """Claim channels, rates, depths and lengths that no recording has."""
    channels, rate = chance.choice([0, 1, 2, 3, 255, 65535]), chance.choice([0, 1, 44_100, 1 << 31])
    bits, kind = chance.choice([0, 8, 16, 24, 32, 64]), chance.choice([1, 3, 6, 0x11, 0x55, 0xFFFE])
    align = max(1, channels * bits // 8) & 0xFFFF
    form = struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * align & 0xFFFFFFFF, align, bits)
    claimed = chance.choice([0, 1000, 200_000, 0xFFFFFFFF])
    body = chance.choice([bytes(200_000), chance.randbytes(200_000), b"\x00\x00\xc0\x7f" * 50_000])
    data = b"data" + struct.pack("<I", claimed) + body
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVEfmt " + form + data


def no_sound(_: bytes, __: bytes, chance: random.Random) -> bytes:
    texts = [
        b"#EXTM3U\n#EXTINF:1,x\n/etc/hostname\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '/etc/hostname'\n",
        b"[playlist]\nFile1=/etc/passwd\n",
        b"<html>404 Not Found</html>" * 40,
        b"<MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>",
        b"PK\x03\x04" + chance.randbytes(3000),
        b"\x1f\x8b\x08" + chance.randbytes(3000),
        bytes(chance.randrange(1, 40_000)),
        b"\xff\xfb" * chance.randrange(1, 20_000),
        b"\xff\xfb\x90\x00" * chance.randrange(1, 10_000),
        chance.randbytes(chance.randrange(1, 40_000)),
        b"",
    ]
    return chance.choice(texts)


def whole(song: bytes, _: bytes, chance: random.Random) -> bytes:
    """Nothing but a few bytes behind the end: these must be kept."""
    return song + chance.randbytes(4)


MUTATIONS: dict[str, Mutation] = {
    "truncated": truncated,
    "flipped": flipped,
    "head flipped": head_flipped,
    "spliced": spliced,
    "wrong headers": wrong_headers,
    "absurd ID3": absurd_id3,
    "gap": gap,
    "garbage before": prefixed,
    "frames repeated": repeated_frames,
    "form changes": changes_form,
    "false length": lying,
    "foreign": foreign,
    "foreign, damaged": foreign_damaged,
    "absurd WAV": absurd_wav,
    "no sound": no_sound,
    "whole": whole,
}


HARMLESS = {"whole", "absurd ID3", "garbage before", "false length", "foreign"}
"""Kinds that take no sound away: what headers and tags say of it is false, or it is elsewhere."""


def mutant(number: int, seed: int) -> Mutant:
    """Return one damaged recording; every kind comes in turn, some damaged twice."""
    chance = random.Random(f"{seed} {number}")
    kinds = list(MUTATIONS)
    kind = kinds[number % len(kinds)]
    song, other = chance.choice(originals()), chance.choice(originals())
    data = MUTATIONS[kind](song, other, chance)
    # Alike they would be duplicates, and only the first be decoded.
    data += chance.randbytes(3) if kind in ("form changes", "false length") else b""
    harmless = kind in HARMLESS and (kind != "false length" or b"Xing" in song or b"Info" in song)
    if chance.random() < 0.1 and data and kind != "whole":
        data, harmless = chance.choice([truncated, flipped, gap])(data, other, chance), False
    return Mutant(kind, data, harmless)
