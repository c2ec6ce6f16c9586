"""Recordings with the ailments that the Free Music Archive's known-bad tracks have, synthesised."""

import struct
from functools import cache

import numpy as np

from tests.synthesised import as_file, good_mp3, holed, tune, untagged

ID3 = b"ID3\x03\x00\x00"
FRAME_COUNT = 8
"""Bytes from the beginning of a Xing or Info tag to its number of frames."""


def id3(claimed: int, content: bytes = b"") -> bytes:
    """Return an ID3v2 tag that claims to be so many bytes long."""
    size = bytes(claimed >> shift & 0x7F for shift in (21, 14, 7, 0))
    return ID3 + size + content


def claiming(mp3: bytes, share: float) -> bytes:
    """Return a tagged MP3 that promises this many times the frames that it has."""
    tag = max(mp3.find(b"Xing"), mp3.find(b"Info")) + FRAME_COUNT
    (frames,) = struct.unpack(">I", mp3[tag : tag + 4])
    return mp3[:tag] + struct.pack(">I", round(frames * share)) + mp3[tag + 4 :]


@cache
def ailments() -> dict[str, tuple[bytes, str, str]]:
    """Return bytes, outcome and reason by the ailment's name."""
    good, rng = good_mp3(), np.random.default_rng(2)
    return {
        "nothing, as 99134 of fma_small": (b"", "quarantined", "empty"),
        "a stub of 1752 bytes": (good[:1752], "quarantined", "truncated"),
        "half a second, as 98567": (as_file(tune(0.5)), "filtered", "too_short"),
        "an ID3 tag and no sound": (id3(2000, bytes(2000)), "quarantined", "not_audio"),
        "an ID3 tag larger than the file": (id3((1 << 28) - 1) + good, "kept", ""),
        "an ID3 tag that claims half the file": (id3(len(good) // 2) + good, "kept", ""),
        "a picture's worth of ID3": (id3(90_000, rng.bytes(90_000)) + good, "kept", ""),
        "an error page": (
            b"<html><body>404 Not Found</body></html>" * 40,
            "quarantined",
            "not_audio",
        ),
        "noise": (rng.bytes(30_000), "quarantined", "not_audio"),
        "zeros": (bytes(30_000), "quarantined", "not_audio"),
        "a playlist": (b"#EXTM3U\n#EXTINF:1,x\n/etc/hostname\n", "quarantined", "not_audio"),
        "another's file name": (
            b"ffconcat version 1.0\nfile '/etc/hostname'\n",
            "quarantined",
            "not_audio",
        ),
        **_damaged_songs(),
    }


def _damaged_songs() -> dict[str, tuple[bytes, str, str]]:
    good, rng = good_mp3(), np.random.default_rng(3)
    half = good[: len(good) // 2]
    slow = as_file(tune(12.0, 660.0, 22_050), 22_050)
    return {
        "half of it": (half, "quarantined", "truncated"),
        "half of it, and it never said how long": (untagged(half), "kept", ""),
        "no length tag": (untagged(good), "kept", ""),
        "garbage in the middle": (holed(good, 900), "kept", ""),
        "much garbage in the middle": (holed(good, len(good) // 4), "quarantined", "truncated"),
        "garbage before the first frame": (rng.bytes(500) + good, "kept", ""),
        "garbage behind the last frame": (good + rng.bytes(5000), "kept", ""),
        "a count ten times too high": (claiming(good, 10), "kept", ""),
        "a count of half its packets": (claiming(good, 0.5), "kept", ""),
        "two songs joined": (good + as_file(tune(12.0)), "kept", ""),
        "a fifth of it overwritten, and it never said how long": (
            holed(untagged(good), len(good) // 5),
            "quarantined",
            "truncated",
        ),
        "another rate from the middle on": (good + slow, "kept", ""),
        "a lower rate up to a third": (slow + good, "kept", ""),
        "a lower rate for most of it": (slow + as_file(tune(11.0)), "filtered", "rate_below_44100"),
    }
