"""Whole songs of any format -> waveforms, with every loss noticed, counted and named.

Two decoders, because the fast one lies: on a damaged MP3 soundfile stops early without a word.
So what it decodes is held against what the file promises, and where the two differ, or where the
promise is only an estimate, FFmpeg decodes packet by packet, skipping and counting the bad ones.
"""

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import av
import numpy as np
import soundfile

from storage.audio import Waveform
from storage.errors import DecodeError

MAXIMUM_LOSS = 0.05
"""Share of the promised frames that may be missing. A song that lost more than a twentieth is no
longer the recording that its title names: it is quarantined as `truncated`."""
SLACK_FRAMES = 1152
"""Frames that may be missing before a second decoder is asked: one MPEG frame, since some
encoders count the one that holds the tag."""
SOUNDFILE = f"soundfile {soundfile.__version__}/libsndfile {soundfile.__libsndfile_version__}"
TAG_BYTES = 2048
"""Where a Xing, Info or VBRI tag must lie: in the first MPEG frame, 1441 bytes at most."""


class Decoded(NamedTuple):
    """A decoded song."""

    waveform: Waveform
    """float32 [channels, frames], full scale at ±1; MP3s overshoot it."""
    sample_rate: int
    decoder: str
    """Name and version, as in `soundfile 0.14.0/libsndfile 1.2.2`."""
    frames_promised: int
    """By the file's header, or by its packets where the header only estimates."""
    decode_errors: int
    """Packets that were skipped."""

    @property
    def channels(self) -> int:
        """Channels of the file."""
        return int(self.waveform.shape[0])

    @property
    def frames(self) -> int:
        """Frames that were decoded."""
        return int(self.waveform.shape[1])

    @property
    def frames_lost(self) -> int:
        """Frames promised less frames decoded, where fewer came."""
        return max(0, self.frames_promised - self.frames)

    @property
    def seconds(self) -> float:
        """Decoded length."""
        return self.frames / self.sample_rate


def decode(data: bytes, name: str, limit_seconds: float) -> Decoded:
    """Decode a whole file; `name` is what messages call it.

    Raises:
        DecodeError: with a `reason`: `empty`, `not_audio`, `zero_frames`, `truncated` (more than
            `MAXIMUM_LOSS` is missing), `nan`, `too_long` (more than `limit_seconds`).
    """
    if not data:
        raise DecodeError(f"{name} is empty; fetch it again, or leave it out", "empty")
    decoded = _by_soundfile(data, name, limit_seconds)
    if decoded is None or decoded.frames_lost > SLACK_FRAMES:
        promised = decoded.frames_promised if decoded else 0
        decoded = _better(decoded, _by_packets(data, name, limit_seconds, promised))
    if decoded is None:
        raise DecodeError(
            f"{name} ({len(data)} bytes) is no audio that soundfile or FFmpeg knows", "not_audio"
        )
    _require_whole(decoded, name)
    return decoded


def _better(decoded: Decoded | None, by_packets: Decoded | None) -> Decoded | None:
    """Return the longer of two decodings of the same bytes, with the bad packets counted."""
    if decoded is None or by_packets is None:
        return decoded or by_packets
    if by_packets.frames >= decoded.frames:
        return by_packets
    return decoded._replace(decode_errors=by_packets.decode_errors)


def _require_whole(decoded: Decoded, name: str) -> None:
    if decoded.frames == 0:
        raise DecodeError(f"{name} opens as audio but holds no frame of it", "zero_frames")
    if decoded.frames_lost > MAXIMUM_LOSS * decoded.frames_promised:
        promised = decoded.frames_promised / decoded.sample_rate
        raise DecodeError(
            f"{name} is damaged: {decoded.seconds:.1f} s of a promised {promised:.1f} s decode "
            f"({decoded.decode_errors} bad packets); fetch it again, or leave it out",
            "truncated",
        )
    if not np.isfinite(decoded.waveform).all():
        raise DecodeError(f"{name} decodes to samples that are no numbers", "nan")


def _by_soundfile(data: bytes, name: str, limit_seconds: float) -> Decoded | None:
    """Return None where soundfile cannot open the bytes or knows their length only roughly."""
    try:
        with _hushed(), soundfile.SoundFile(io.BytesIO(data)) as stream:
            if stream.format == "MP3" and not _has_length_tag(data):
                return None
            if stream.frames > limit_seconds * stream.samplerate:
                raise _too_long(name, stream.frames / stream.samplerate, limit_seconds)
            try:
                waveform = stream.read(dtype="float32", always_2d=True).T
            except soundfile.LibsndfileError:
                waveform = np.zeros((stream.channels, 0), np.float32)
            return Decoded(waveform, stream.samplerate, SOUNDFILE, stream.frames, 0)
    except soundfile.LibsndfileError:
        return None


def _has_length_tag(data: bytes) -> bool:
    """Say whether an MP3 states its length; without a tag libsndfile guesses, and is often off."""
    start = 0
    if data[:3] == b"ID3" and len(data) > 10:
        # ID3v2 sizes are four bytes of seven bits.
        start = 10 + (data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9])
    head = data[start : start + TAG_BYTES]
    return any(tag in head for tag in (b"Xing", b"Info", b"VBRI"))


def _by_packets(data: bytes, name: str, limit_seconds: float, promised: int) -> Decoded | None:
    """Decode with FFmpeg, bad packets left out; None where FFmpeg finds no audio at all."""
    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.audio:
                return None
            sink = _Sink(name, limit_seconds)
            stream = container.streams.audio[0]
            _drain(container, stream, sink)
            return sink.decoded(promised or _promise(stream, sink))
    except av.error.FFmpegError:
        return None


def _drain(container: Any, stream: Any, sink: "_Sink") -> None:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            sink.errors += 1
            return
        if packet is None:
            return
        sink.packets += packet.size > 0
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            sink.errors += 1
            continue
        for frame in frames:
            sink.take(frame)


def _promise(stream: Any, sink: "_Sink") -> int:
    """Return the frames that an untagged MP3's packets, or another format's header, add up to."""
    if stream.codec_context.name.startswith("mp3"):
        return sink.packets * sink.largest
    if stream.duration is None:
        return sink.frames
    return int(stream.duration * stream.time_base * sink.sample_rate)


class _Sink:
    """Collects decoded frames of one format; frames of another are damage."""

    def __init__(self, name: str, limit_seconds: float) -> None:
        self.packets = self.errors = self.frames = self.largest = 0
        self.sample_rate = self.channels = 0
        self._name = name
        self._limit = limit_seconds
        self._blocks: list[Waveform] = []
        self._planar = av.AudioResampler(format="fltp")

    def take(self, frame: Any) -> None:
        """Take one frame. Where the format changes, a false sync was decoded: it is left out."""
        form = (frame.sample_rate, frame.layout.nb_channels)
        if not self._blocks:
            self.sample_rate, self.channels = form
        if form != (self.sample_rate, self.channels):
            self.errors += 1
            return
        parts = [frame] if frame.format.name == "fltp" else self._planar.resample(frame)
        for part in parts:
            block = part.to_ndarray().astype(np.float32, copy=False)
            self._blocks.append(block)
            self.frames += block.shape[1]
            self.largest = max(self.largest, block.shape[1])
        if self.frames > self._limit * self.sample_rate:
            raise _too_long(self._name, self.frames / self.sample_rate, self._limit)

    def decoded(self, promised: int) -> Decoded | None:
        """Return what came, or None if nothing did."""
        if not self._blocks:
            return None
        codec = ".".join(str(part) for part in av.library_versions["libavcodec"])
        version = f"av {av.__version__}/libavcodec {codec}"
        waveform = np.concatenate(self._blocks, axis=1)
        return Decoded(waveform, self.sample_rate, version, promised, self.errors)


def _too_long(name: str, seconds: float, limit: float) -> DecodeError:
    return DecodeError(
        f"{name} lasts {seconds:.0f} s or more, but {limit:.0f} s is the limit; raise the limit "
        "if there is memory for it (21 MB a minute)",
        "too_long",
    )


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
