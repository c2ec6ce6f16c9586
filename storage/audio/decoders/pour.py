"""Sound on its way from a decoder to a sink: checked, counted, silence put where some was lost."""

from typing import Generic, NamedTuple

import numpy as np
import soxr

from storage.audio.decoding import Begin, Decoding, Form, Hole, Length, Source, Taker
from storage.audio.waveforms import Waveform
from storage.errors import DecodeError

UNKNOWN = Length()
BLOCK_FRAMES = 1 << 17
"""Frames that are handed on at a time."""


class Attempt(NamedTuple, Generic[Taker]):
    """One decoding of a recording, and the sink that took it."""

    decoding: Decoding
    sink: Taker | None


class Pour(Generic[Taker]):
    """Takes a recording of one form and hands it to a sink that `begin` returns."""

    def __init__(self, source: Source, begin: Begin[Taker], form: Form) -> None:
        self.form, self.frames, self.errors = form, 0, 0
        self._source = source
        self._sink = begin(form)
        self._holes: list[Hole] = []
        self._pending: list[Waveform] = []
        self._pending_frames = 0

    @property
    def wanted(self) -> bool:
        """Whether anything takes the sound."""
        return self._sink is not None

    def take(self, block: Waveform) -> None:
        """Take frames that stay as they are until they are handed on."""
        self._count(block.shape[1])
        self._pending.append(block)
        self._pending_frames += block.shape[1]
        if self._pending_frames >= BLOCK_FRAMES:
            self.hand_on()

    def take_at_once(self, block: Waveform) -> None:
        """Take frames that may be overwritten afterwards."""
        self.hand_on()
        self._count(block.shape[1])
        self._give(block)

    def fill(self, frames: int) -> None:
        """Put silence in the place of lost sound."""
        if frames <= 0:
            return
        last = self._holes[-1] if self._holes else None
        if last and last.start + last.frames == self.frames:
            self._holes[-1] = Hole(last.start, last.frames + frames)
        else:
            self._holes.append(Hole(self.frames, frames))
        while frames > 0:
            count = min(frames, BLOCK_FRAMES)
            self.take(np.zeros((self.form.channels, count), np.float32))
            frames -= count

    def hand_on(self) -> None:
        """Hand on what is pending."""
        if self._pending:
            block = np.concatenate(self._pending, axis=1)
            self._pending, self._pending_frames = [], 0
            self._give(block)

    def attempt(
        self, promised: Length = UNKNOWN, missing: int = 0, stray_bytes: int = 0
    ) -> Attempt[Taker]:
        """Hand on the rest; return what came of it all."""
        self.hand_on()
        done = self._decoding()._replace(
            promised=promised, frames_missing=missing, stray_bytes=stray_bytes
        )
        return Attempt(done, self._sink)

    def _decoding(self) -> Decoding:
        return Decoding(*self.form, Length(), self.frames, self.errors, tuple(self._holes))

    def _count(self, frames: int) -> None:
        self.frames += frames
        try:
            self._source.require_short(self.frames, self.form.sample_rate)
        except DecodeError as error:
            error.facts, error.sink = self._decoding(), self._sink
            raise

    def _give(self, block: Waveform) -> None:
        try:
            self._source.require_numbers(block)
        except DecodeError as error:
            error.facts, error.sink = self._decoding(), self._sink
            raise
        if self._sink is not None:
            self._sink.take(block)


class Shape(NamedTuple):
    """What a part of a recording decodes to."""

    sample_rate: int
    channels: int


class Converter:
    """Brings a part of a recording to the form of most of it (soxr HQ)."""

    def __init__(self, own: Shape, wanted: Shape) -> None:
        self._channels = wanted.channels
        self._stream: soxr.ResampleStream | None = None
        if own.sample_rate != wanted.sample_rate:
            rates = (own.sample_rate, wanted.sample_rate)
            self._stream = soxr.ResampleStream(*rates, wanted.channels, "float32", "HQ")

    def take(self, block: Waveform) -> Waveform:
        """Return what of the sound a block completes."""
        block = self._spread(block)
        if self._stream is None:
            return block
        frames: Waveform = self._stream.resample_chunk(np.ascontiguousarray(block.T))
        return frames.T

    def rest(self) -> Waveform:
        """Return what resampling has held back."""
        empty = np.zeros((0, self._channels), np.float32)
        if self._stream is None:
            return empty.T
        frames: Waveform = self._stream.resample_chunk(empty, last=True)
        return frames.T

    def _spread(self, block: Waveform) -> Waveform:
        """Repeat one channel, average all to one, or leave each in its place."""
        have, wanted = len(block), self._channels
        if have == wanted:
            return block
        if wanted == 1:
            mean: Waveform = block.mean(axis=0, keepdims=True)
            return mean
        if have == 1:
            return np.repeat(block, wanted, axis=0)
        block = block[:wanted]
        return np.pad(block, ((0, wanted - len(block)), (0, 0)))
