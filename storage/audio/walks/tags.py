"""Tags that lie before, between and behind packets: none of their bytes is sound.

mutagen reads what tags say; where they end, between the packets of a damaged file, it does not look
for.
"""

from storage.audio.walks.parts import Bytes

ID3V1_BYTES, ENHANCED_BYTES, APE_BYTES, LYRICS_BYTES = 128, 227, 32, 5100
LARGEST_APE = 1 << 28


def tag_bytes(file: Bytes, start: int, stop: int) -> int:
    """Return the bytes of the tag that begins here; 0 where none does.

    ID3v1, its enhanced form, ID3v2, APEv2, Lyrics3. A size that leads out of `stop` is a false one.
    """
    head = file.data[start : start + APE_BYTES]
    length = 0
    if head[:3] == b"ID3":
        length = _id3v2_bytes(head)
    elif head[:4] == b"TAG+":
        length = ENHANCED_BYTES
    elif head[:3] == b"TAG":
        length = ID3V1_BYTES
    elif head[:8] == b"APETAGEX" and len(head) == APE_BYTES:
        size, flags = int.from_bytes(head[12:16], "little"), int.from_bytes(head[20:24], "little")
        length = size + APE_BYTES if flags >> 29 & 1 else APE_BYTES
    elif head[:11] == b"LYRICSBEGIN":
        length = _lyrics_bytes(file, start, stop)
    return length if start + length <= stop else 0


def _id3v2_bytes(head: bytes) -> int:
    """ID3v2 sizes are four bytes of seven bits; version 2.4 may have a footer."""
    if len(head) < 10 or head[3] == 255 or head[4] == 255 or max(head[6:10]) > 127:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _lyrics_bytes(file: Bytes, start: int, stop: int) -> int:
    for end in (b"LYRICS200", b"LYRICSEND"):
        found = file.data.find(end, start, min(stop, start + (1 << 20)))
        if found >= 0:
            return found + len(end) - start
    return 0


def sound_end(file: Bytes, start: int) -> int:
    """Return where tags behind the sound begin: those that state their size at their end."""
    stop, before = file.size, -1
    while stop != before:
        before = stop
        for length in (_id3v1_before, _ape_before, _lyrics_before):
            size = length(file, stop)
            if 0 < size <= stop - start:
                stop -= size
    return stop


def _id3v1_before(file: Bytes, stop: int) -> int:
    first = max(0, stop - ID3V1_BYTES)
    if file.data[first : first + 3] != b"TAG":
        return 0
    enhanced = stop - ID3V1_BYTES - ENHANCED_BYTES
    if enhanced >= 0 and file.data[enhanced : enhanced + 4] == b"TAG+":
        return ID3V1_BYTES + ENHANCED_BYTES
    return ID3V1_BYTES


def _ape_before(file: Bytes, stop: int) -> int:
    """APEv1 and APEv2 end with a footer; its size counts it, but not the header."""
    foot = file.data[max(0, stop - APE_BYTES) : stop]
    if foot[:8] != b"APETAGEX":
        return 0
    size, flags = int.from_bytes(foot[12:16], "little"), int.from_bytes(foot[20:24], "little")
    return size + (APE_BYTES if flags >> 31 else 0) if size < LARGEST_APE else 0


def _lyrics_before(file: Bytes, stop: int) -> int:
    foot = file.data[max(0, stop - 15) : stop]
    if foot[6:] == b"LYRICS200" and foot[:6].isdigit():
        return int(foot[:6]) + 15
    if foot[6:] == b"LYRICSEND":
        first = max(0, stop - LYRICS_BYTES)
        found = file.data.find(b"LYRICSBEGIN", first, stop)
        return stop - found if found >= 0 else 0
    return 0
