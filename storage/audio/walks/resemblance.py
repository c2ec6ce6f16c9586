"""Whether bytes behind the stated end of samples are samples, too, or other data.

Samples have a most significant byte that takes few values; what is compressed, as pictures and
archives are, takes all values everywhere.
"""

import numpy as np
import numpy.typing as npt

JUDGED_BYTES = 1 << 16
LANES = 24
"""Bytes after which a position in a frame recurs: a multiple of all usual sizes of frames."""
COMPRESSED_BITS = 7.6
"""Entropy of every byte of a frame, above which data is compressed; uniform noise has 7.93."""
TEXT_SHARE = 0.95


def is_sound(behind: bytes, before: bytes) -> bool:
    """Say whether data is like the samples before it: neither empty, nor text, nor compressed."""
    found, known = (np.frombuffer(data, np.uint8) for data in (behind, before[-JUDGED_BYTES:]))
    found = found[:JUDGED_BYTES]
    if not found.any():
        return False
    if _text_share(found) > TEXT_SHARE > _text_share(known):
        return False
    return _least_entropy(found) < COMPRESSED_BITS or _least_entropy(known) >= COMPRESSED_BITS


def _text_share(data: npt.NDArray[np.uint8]) -> float:
    printable = ((data >= 32) & (data < 127)) | ((data >= 9) & (data <= 13))
    return float(printable.mean()) if data.size else 0.0


def _least_entropy(data: npt.NDArray[np.uint8]) -> float:
    """Return the entropy of the byte of a frame that varies least, in bits."""
    if data.size < LANES * 256:
        return 0.0
    least = 8.0
    for lane in range(LANES):
        counts = np.bincount(data[lane::LANES], minlength=256)
        shares = counts[counts > 0] / counts.sum()
        least = min(least, float(-(shares * np.log2(shares)).sum()))
    return least
