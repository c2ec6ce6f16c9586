"""FFmpeg's demuxers and decoders, for the containers that have no walk."""

from collections.abc import Iterator
from io import RawIOBase
from pathlib import Path
from typing import Any, Generic

import av

from storage.audio.decoders.packets import FFMPEG, prepare
from storage.audio.decoders.pour import Attempt, Converter, Pour, Shape
from storage.audio.decoding import Begin, Form, Length, Source, Taker
from storage.audio.waveforms import Waveform

EXACT = frozenset(("mov,mp4,m4a,3gp,3g2,mj2", "wv", "tta", "ape", "mpc", "mpc8", "dsf", "caf"))
"""Containers that count their frames. Others state a time: of all their streams, or by bit rate."""
CONTAINERS = ",".join(
    (
        *EXACT, "wav", "w64", "aiff", "au", "ogg", "asf", "matroska,webm", "amr", "avi", "flv",
        "mpegts", "mpeg", "dts", "dtshd", "truehd",
    )
)  # fmt: skip
"""What FFmpeg may take a file for: never a playlist, which would name other files or servers."""
LONGEST_PAUSE = 60
"""Seconds that a clock may jump; beyond them another clock begins, as where streams were joined."""
TOLERANCE = 0.75
"""Of a packet: a smaller jump of the clock is rounding."""


def by_container(
    source: Source, begin: Begin[Taker], file: Path | RawIOBase
) -> Attempt[Taker] | None:
    """Decode with FFmpeg, silence for packets that are missing; None where it finds no audio."""
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    opened: Any = str(file) if isinstance(file, Path) else file
    try:
        with av.open(opened, options=options, metadata_errors="replace") as container:
            if not container.streams.audio:
                return None
            stream: Any = container.streams.audio[0]
            if stream.codec_context is None:
                # Sound of a kind that it has no decoder for.
                return None
            prepare(stream.codec_context)
            drain = _Drain(source, begin)
            drain.drain(container, stream)
            return drain.attempt(_promise(container, stream, drain.sample_rate))
    except av.error.MemoryError:
        raise
    except av.error.FFmpegError:
        return None


def _promise(container: Any, stream: Any, sample_rate: int) -> Length:
    """Return how long the container says that its sound is."""
    if stream.duration is not None:
        frames = round(stream.duration * stream.time_base * sample_rate)
        return Length(frames, "exact" if container.format.name in EXACT else "estimated")
    if container.duration is None:
        return Length()
    return Length(round(container.duration / av.time_base * sample_rate), "estimated")


class _Drain(Generic[Taker]):
    """Decodes every packet that can be; the first one's form is that of the recording."""

    def __init__(self, source: Source, begin: Begin[Taker]) -> None:
        self._source, self._begin = source, begin
        self._pour: Pour[Taker] | None = None
        self._shape = self._wanted = Shape(1, 0)
        self._converter: Converter | None = None
        self._planar = av.AudioResampler(format="fltp")
        self._errors = 0
        self._usual = 0
        """Frames of the latest packet."""
        self._owed = 0.0
        """Seconds that were lost since the last packet that decoded."""

    def drain(self, container: Any, stream: Any) -> None:
        """Decode to the end."""
        packets = container.demux(stream)
        clock: float | None = None
        while (packet := self._next(packets)) is not None:
            base = float(packet.time_base or 0)
            length = float(packet.duration or 0) * base
            time = packet.pts * base if packet.pts is not None and packet.size else None
            if time is not None and clock is not None:
                least = TOLERANCE * (length or self._usual / self._shape.sample_rate)
                self._owed += time - clock if least < time - clock < LONGEST_PAUSE else 0
            decoded = self._decode(packet, length)
            clock = None if time is None else time + max(length, decoded)
        if self._pour and self._converter:
            self._pour.take(self._converter.rest())

    @property
    def sample_rate(self) -> int:
        """In Hz; 1 before anything was decoded."""
        return self._wanted.sample_rate

    def attempt(self, promised: Length) -> Attempt[Taker] | None:
        """Return what came, or None if nothing did."""
        if self._pour is None:
            return None
        self._pour.errors = self._errors
        short = promised.frames - self._pour.frames
        if promised.certainty == "exact" and short > self._usual:
            return self._pour.attempt(promised, short)
        return self._pour.attempt(promised, round(self._owed * self.sample_rate))

    def _next(self, packets: Iterator[Any]) -> Any:
        try:
            return next(packets, None)
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError:
            self._errors += 1
            return None

    def _decode(self, packet: Any, length: float) -> float:
        """Decode a packet; return the seconds that came."""
        try:
            frames = packet.decode()
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError:
            self._errors += 1
            self._owed += length or self._usual / self._shape.sample_rate
            return 0.0
        for frame in frames:
            self._take(frame)
        return float(sum(frame.samples / frame.sample_rate for frame in frames))

    def _take(self, frame: Any) -> None:
        """Take one frame, in the form that the recording began with."""
        shape = Shape(frame.sample_rate, frame.layout.nb_channels)
        if self._pour is None:
            self._wanted = shape
            self._pour = Pour(self._source, self._begin, Form(*shape, FFMPEG))
        if shape != self._shape:
            if self._converter:
                self._pour.take(self._converter.rest())
            self._converter, self._shape = Converter(shape, self._wanted), shape
        self._pour.fill(round(self._owed * self._wanted.sample_rate))
        self._owed = 0.0
        assert self._converter
        parts = [frame] if frame.format.name == "fltp" else self._planar.resample(frame)
        for part in parts:
            block: Waveform = part.to_ndarray().astype("f4", copy=False)
            self._usual = block.shape[1]
            self._pour.take(self._converter.take(block))
