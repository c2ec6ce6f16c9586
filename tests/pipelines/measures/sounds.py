"""Sound for measures, and measures of whole sounds."""

from collections.abc import Sequence

import numpy as np

from pipelines.measures.measure import Kind, Measure, Second, Value
from pipelines.measures.measurer import Measurer
from pipelines.measures.table import MEASURES
from storage.config import Json
from tests.synthesised import RATE, Sound


def noise(seconds: float, level: float = 0.1, seed: int = 0, rate: int = RATE) -> Sound:
    """Return white noise, [2, frames]."""
    frames = round(seconds * rate)
    return np.random.default_rng(seed).normal(0, level, (2, frames)).astype(np.float32)


def sine(seconds: float, hertz: float, peak: float, rate: int = RATE) -> Sound:
    """Return the same sine in both channels, [2, frames]."""
    wave = peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave, wave]).astype(np.float32)


def low_passed(sound: Sound, hertz: float, rate: int = RATE) -> Sound:
    """Return sound without anything above a frequency."""
    spectrum = np.fft.rfft(sound.astype(np.float64))
    spectrum[:, np.fft.rfftfreq(sound.shape[1], 1 / rate) > hertz] = 0
    return np.fft.irfft(spectrum, sound.shape[1]).astype(np.float32)


def seconds_of(sound: Sound, rate: int = RATE) -> list[Second]:
    starts = range(0, sound.shape[1], rate)
    return [Second(np.ascontiguousarray(sound[:, at : at + rate].T)) for at in starts]


def measured(measure: Measure, sound: Sound, rate: int = RATE) -> list[Value]:
    """Return a measure's figures of each second."""
    return [measure.take(second) for second in seconds_of(sound, rate)]


def found(
    sound: Sound, sizes: Sequence[int] = (), kinds: Sequence[Kind] = MEASURES, rate: int = RATE
) -> Json:
    """Return what is measured of a sound that comes in blocks of these sizes, and a last one."""
    measurer, begin = Measurer(rate, kinds), 0
    for size in sizes:
        measurer.take(sound[:, begin : begin + size])
        begin += size
    measurer.take(sound[:, begin:])
    measurer.close()
    return measurer.found()
