"""The two decoders of whole songs: soundfile, which is fast, and FFmpeg, which tolerates damage.

Both pass a recording on block by block, so that its length costs no memory.
"""

import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import av
import numpy as np
import soundfile

from storage.audio.waveforms import Waveform
from storage.errors import DecodeError

BLOCK_FRAMES = 1 << 17
"""Frames that soundfile decodes at a time."""
SOUNDFILE = f"soundfile {soundfile.__version__}/libsndfile {soundfile.__libsndfile_version__}"
LIBAVCODEC = ".".join(str(part) for part in av.library_versions["libavcodec"])
FFMPEG = f"av {av.__version__}/libavcodec {LIBAVCODEC}"
TAG_BYTES = 2048
"""Where a Xing, Info or VBRI tag must lie: in the first MPEG frame, 1441 bytes at most."""
CONTAINERS = (
    "mp3,wav,w64,flac,ogg,aac,ac3,aiff,caf,ape,wv,mpc,mpc8,tta,dsf,asf,mov,m4a,matroska,webm,amr,au"
)
"""What FFmpeg may take a file for: never a playlist, which would name other files or servers."""


class Form(NamedTuple):
    """What is known of a recording before it is decoded."""

    sample_rate: int
    channels: int
    decoder: str
    """Name and version, as in `soundfile 0.14.0/libsndfile 1.2.2`."""
    frames_promised: int
    """By the file's header; 0 where that only estimates."""


class Decoding(NamedTuple):
    """What became of a recording when it was decoded."""

    sample_rate: int
    channels: int
    decoder: str
    frames_promised: int
    """By the file's header, or by its packets where the header only estimates."""
    frames: int
    """Frames that were decoded; those promised, where they were not wanted."""
    decode_errors: int
    """Packets that were skipped."""

    @property
    def frames_lost(self) -> int:
        """Frames promised less frames decoded, where fewer came."""
        return max(0, self.frames_promised - self.frames)

    @property
    def seconds(self) -> float:
        """Decoded length."""
        return self.frames / self.sample_rate


class Sink(Protocol):
    """What takes a recording block by block."""

    def take(self, block: Waveform) -> None:
        """Take the next frames, float32 [channels, frames]; the block may be reused afterwards."""
        ...


Taker = TypeVar("Taker", bound=Sink)
Begin = Callable[[Form], Taker | None]


class Attempt(NamedTuple, Generic[Taker]):
    """One decoding of a recording, and the sink that took it."""

    decoding: Decoding
    sink: Taker | None


class Source(NamedTuple):
    """A recording to be decoded."""

    path: Path
    name: str
    """What messages call it."""
    limit_seconds: float

    def require_short(self, frames: int, sample_rate: int) -> None:
        """Raise `DecodeError` (`too_long`) beyond the limit."""
        if frames > self.limit_seconds * sample_rate:
            raise DecodeError(
                f"{self.name} lasts {frames / sample_rate:.0f} s or more, but "
                f"{self.limit_seconds:.0f} s is the limit; raise it if the song is worth it",
                "too_long",
            )

    def require_numbers(self, block: Waveform) -> None:
        """Raise `DecodeError` (`nan`) unless every sample is a finite number."""
        # The sum is finite unless a sample is not, or overflows: then each is looked at.
        if not math.isfinite(block.sum()) and not np.isfinite(block).all():
            raise DecodeError(f"{self.name} decodes to samples that are no numbers", "nan")


def by_soundfile(source: Source, begin: Begin[Taker]) -> Attempt[Taker] | None:
    """Decode to the end, or to the first damage.

    None where soundfile cannot open the file, or knows its length only roughly.
    """
    try:
        with _hushed(), soundfile.SoundFile(str(source.path)) as stream:
            if stream.format == "MP3" and not _has_length_tag(source.path):
                return None
            source.require_short(stream.frames, stream.samplerate)
            form = Form(stream.samplerate, stream.channels, SOUNDFILE, stream.frames)
            sink = begin(form)
            frames = stream.frames if sink is None else _pour(stream, source, sink)
            return Attempt(Decoding(*form, frames, 0), sink)
    except soundfile.LibsndfileError:
        return None


def _pour(stream: soundfile.SoundFile, source: Source, sink: Sink) -> int:
    """Decode to the end, or to damage; return the frames that came."""
    frames = 0
    buffer = np.empty((BLOCK_FRAMES, stream.channels), np.float32)
    while True:
        try:
            block = stream.read(out=buffer).T
        except soundfile.LibsndfileError:
            return frames
        if not block.shape[1]:
            return frames
        frames += block.shape[1]
        source.require_short(frames, stream.samplerate)
        source.require_numbers(block)
        sink.take(block)


def _has_length_tag(path: Path) -> bool:
    """Say whether an MP3 states its length; without a tag libsndfile guesses, and is often off."""
    with path.open("rb") as stream:
        head = stream.read(10)
        if head[:3] == b"ID3" and len(head) == 10:
            # ID3v2 sizes are four bytes of seven bits.
            stream.seek(10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]))
        else:
            stream.seek(0)
        tagged = stream.read(TAG_BYTES)
    return any(tag in tagged for tag in (b"Xing", b"Info", b"VBRI"))


def by_packets(source: Source, begin: Begin[Taker], promised: int) -> Attempt[Taker] | None:
    """Decode with FFmpeg, bad packets left out; None where FFmpeg finds no audio at all."""
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:
        with av.open(str(source.path), options=options, metadata_errors="replace") as container:
            if not container.streams.audio:
                return None
            stream: Any = container.streams.audio[0]
            if stream.codec_context is None:
                # Sound of a kind that it has no decoder for.
                return None
            stream.codec_context.thread_count = 1
            packets = _Packets(source, begin)
            packets.drain(container, stream)
            return packets.attempt(promised or _promise(stream, packets))
    except av.error.MemoryError:
        raise
    except av.error.FFmpegError:
        return None


def _promise(stream: Any, packets: "_Packets[Taker]") -> int:
    """Return the frames that an untagged MP3's packets, or another format's header, add up to."""
    if stream.codec_context.name.startswith("mp3"):
        return packets.packets * packets.largest
    if stream.duration is None:
        return packets.frames
    return int(stream.duration * stream.time_base * packets.sample_rate)


class _Packets(Generic[Taker]):
    """Decodes packets of one form to a sink; frames of another form are damage."""

    def __init__(self, source: Source, begin: Begin[Taker]) -> None:
        self.packets = self.errors = self.frames = self.largest = 0
        self.sample_rate = self.channels = 0
        self._source, self._begin = source, begin
        self._sink: Taker | None = None
        self._pending: list[Waveform] = []
        self._pending_frames = 0
        self._planar = av.AudioResampler(format="fltp")

    def drain(self, container: Any, stream: Any) -> None:
        """Decode every packet that can be."""
        packets = container.demux(stream)
        while (packet := self._next(packets)) is not None:
            self.packets += packet.size > 0
            try:
                frames = packet.decode()
            except av.error.MemoryError:
                raise
            except av.error.FFmpegError:
                self.errors += 1
                continue
            for frame in frames:
                self._take(frame)
        self._hand_on()

    def attempt(self, promised: int) -> Attempt[Taker] | None:
        """Return what came, or None if nothing did."""
        if not self.sample_rate:
            return None
        form = Form(self.sample_rate, self.channels, FFMPEG, promised)
        return Attempt(Decoding(*form, self.frames, self.errors), self._sink)

    def _next(self, packets: Iterator[Any]) -> Any:
        try:
            return next(packets, None)
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError:
            self.errors += 1
            return None

    def _take(self, frame: Any) -> None:
        """Take one frame. Where the form changes, a false sync was decoded: it is left out."""
        form = (frame.sample_rate, frame.layout.nb_channels)
        if not self.sample_rate:
            self.sample_rate, self.channels = form
            self._sink = self._begin(Form(*form, FFMPEG, 0))
        if form != (self.sample_rate, self.channels):
            self.errors += 1
            return
        parts = [frame] if frame.format.name == "fltp" else self._planar.resample(frame)
        for part in parts:
            block = part.to_ndarray().astype(np.float32, copy=False)
            self._pending.append(block)
            self._pending_frames += block.shape[1]
            self.frames += block.shape[1]
            self.largest = max(self.largest, block.shape[1])
        self._source.require_short(self.frames, self.sample_rate)
        if self._pending_frames >= BLOCK_FRAMES:
            self._hand_on()

    def _hand_on(self) -> None:
        if self._sink and self._pending:
            block = np.concatenate(self._pending, axis=1)
            self._source.require_numbers(block)
            self._sink.take(block)
        self._pending, self._pending_frames = [], 0


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep libmpg123 from writing its guesses to file descriptor 2.

    The descriptor belongs to the whole process: it is only lent while no other thread could want
    to complain through it.
    """
    if threading.active_count() > 1:
        yield
        return
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
