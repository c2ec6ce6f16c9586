"""Which walk a file takes, by how it begins."""

from collections.abc import Iterator

from storage.audio.walks.chunks import find_sound, survey_chunks
from storage.audio.walks.elementary import KINDS, survey_stream
from storage.audio.walks.flac import survey_flac
from storage.audio.walks.framed import search_frames, walk_frames
from storage.audio.walks.mpeg import MpegFraming, survey_mpeg
from storage.audio.walks.ogg import survey_ogg
from storage.audio.walks.parts import Bytes, Packets, Survey
from storage.audio.walks.tags import sound_end, tag_bytes

PADDING_BYTES = 1 << 16
"""Zeros that may follow a tag without being counted in its size."""
ID3_HEADER_BYTES = 10


def survey_file(file: Bytes) -> Survey | None:
    """Walk over a file whose kind is plain from its beginning; None for any other."""
    start = 0
    while length := tag_bytes(file, start, file.size - 1):
        start += length
    if sound := find_sound(file, start):
        # A WAV or an AIFF may hold packets of MP3 or AAC, whatever it calls them.
        end = file.size if sound.claimed is None else min(file.size, sound.start + sound.claimed)
        return _stream_at(file, sound.start, end) or survey_chunks(file, start)
    for walk in (survey_flac, survey_ogg):
        if found := walk(file, start):
            return found
    zeros = file.data[start : start + PADDING_BYTES]
    padded = start + len(zeros) - len(zeros.lstrip(b"\0"))
    stop = sound_end(file, start)
    surveys = (found for at in sorted({start, padded}) if (found := _stream_at(file, at, stop)))
    return next(surveys, None)


def search_file(file: Bytes) -> Survey | None:
    """Walk over the stream of packets that begins somewhere behind other data.

    An ID3 tag that is longer or shorter than it says is other data, too.
    """
    start = ID3_HEADER_BYTES if file.data[:3] == b"ID3" else 0
    stop = sound_end(file, start)
    return max(_streams_behind(file, start, stop), key=_frames, default=None)


def _stream_at(file: Bytes, start: int, stop: int) -> Survey | None:
    mpeg = MpegFraming()
    mpeg.find_free_size(file.data, start)
    if walked := walk_frames(file, mpeg, start, stop):
        return survey_mpeg(file, walked)
    for kind in KINDS:
        if walked := walk_frames(file, kind.framing, start, stop):
            return survey_stream(file, walked, kind)
    return None


def _streams_behind(file: Bytes, start: int, stop: int) -> Iterator[Survey]:
    if walked := search_frames(file, MpegFraming(), start, stop):
        yield survey_mpeg(file, walked)
    for kind in KINDS:
        if walked := search_frames(file, kind.framing, start, stop):
            yield survey_stream(file, walked, kind)


def _frames(survey: Survey) -> int:
    return sum(part.frames for part in survey.parts if isinstance(part, Packets))
