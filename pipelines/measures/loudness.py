"""Loudness by EBU R128: of the whole track, and the loudest moment in each second.

ITU-R BS.1770-4: sound passes a filter that weighs frequencies as hearing does; the mean square of
400 ms, in steps of 100 ms, is the momentary loudness. The integrated loudness is that of the blocks
of 400 ms that are above -70 LUFS and less than 10 LU below the mean of those.
"""

import math
from array import array
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipelines.measures.measure import Figure, Kind, Second, Value
from storage.audio.waveforms import Waveform

Biquad = tuple[float, float, float, float, float]
"""b0, b1, b2, a1, a2; a0 is 1."""

STEPS = 10
"""Of a second: blocks begin 100 ms apart."""
BLOCK = 4
"""Steps of a block."""
OFFSET = -0.691
"""LUFS of a sine of 997 Hz at full scale in one channel are -3.01: what the filter adds there."""
GATE = -70.0
"""LUFS: blocks below are silence. It stands in for whatever is fainter."""
RELATIVE_GATE = -10.0
DIGITS = 1
"""As meters show it. It leaves room for singles, which take half the time of doubles."""
LONGEST = 42
"""Most samples in a block of the filter: longer ones need more products, shorter more states."""

FORGOTTEN = 1e-9
"""A share of a state below this is left out."""


class Loudness:
    """In LUFS, of the two channels together; mono that became two channels is 3 LU louder."""

    def __init__(self, sample_rate: int) -> None:
        self._rate = sample_rate
        self._bounds = [step * sample_rate // STEPS for step in range(STEPS + 1)]
        self._filter = KWeighting(sample_rate)
        self._steps = array("d")
        """Sum of squares of each step so far, both channels: ten numbers a second."""

    def take(self, second: Second) -> Value:
        """Return the loudest of the blocks that end in this second; None if none does."""
        weighted = self._filter.take(second.frames)
        before = len(self._steps)
        for start, stop in pairwise(self._bounds):
            if stop <= weighted.shape[1]:
                parts = weighted[:, start:stop]
                self._steps.append(sum(float(np.vdot(part, part)) for part in parts))
        blocks = self._blocks(max(0, before - BLOCK + 1))
        return _lufs(float(blocks.max())) if len(self._steps) > before and len(blocks) else None

    def whole(self) -> dict[str, Value]:
        """Return the integrated loudness."""
        blocks = self._blocks(0)
        loud = blocks[blocks > _power(GATE)]
        if not len(loud):
            return {"loudness_lufs": GATE}
        loud = loud[loud > loud.mean() * 10 ** (RELATIVE_GATE / 10)]
        return {"loudness_lufs": _lufs(float(loud.mean()))}

    def _blocks(self, first: int) -> npt.NDArray[np.float64]:
        """Return the mean squares of the blocks that begin at a step or later."""
        steps = np.array(self._steps[first:])
        if len(steps) < BLOCK:
            return np.empty(0)
        return np.convolve(steps, np.ones(BLOCK), "valid") / (self._rate * BLOCK / STEPS)


class KWeighting:
    """BS.1770's filter: a shelf for the head, then a high pass.

    A recursive filter in pure numpy. Samples are taken in blocks, a row each: one product with a
    matrix gives what a block's own samples add to its output and to the filter's state behind it.
    The states before the blocks follow from each other; they are found for all blocks by doubling.
    """

    def __init__(self, sample_rate: int) -> None:
        self._length = next(n for n in range(LONGEST, 0, -1) if sample_rate % n == 0)
        blocks = sample_rate // self._length
        matrix = _response(biquads(sample_rate), self._length)
        samples, states = slice(None, self._length), slice(self._length, None)
        powers = [matrix[states, states].T]
        while 1 << len(powers) <= blocks and np.abs(powers[-1]).max() > FORGOTTEN:
            powers.append(powers[-1] @ powers[-1])
        # What a block's samples and the state before it make its output, and what its samples add
        # to the state behind it.
        self._heard = matrix[samples].T.astype(np.float32)
        self._drives = matrix[states, samples].T.astype(np.float32)
        # What becomes of a state in 1, 2, 4 ... blocks, and the states before each block and behind
        # the last: in doubles, since the poles of the high pass lie close to 1 and to each other.
        self._powers = [power.copy() for power in powers]
        self._states = np.zeros((2, blocks + 1, len(powers[0])))
        self._blocks = np.zeros((2, blocks, len(matrix)), np.float32)
        """Samples and the state before them, a row each."""

    def take(self, frames: Waveform) -> Waveform:
        """Filter [frames, 2] to [2, frames]; only the last call may have less than a second."""
        count, length = len(frames), self._length
        if rest := -count % length:
            frames = np.pad(frames, ((0, rest), (0, 0)))
        blocks = self._blocks[:, : len(frames) // length]
        states = self._states[:, : blocks.shape[1] + 1]
        blocks[:, :, :length] = frames.reshape(-1, length, 2).transpose(2, 0, 1)
        states[:, 0] = self._states[:, -1]
        states[:, 1:] = blocks[:, :, :length] @ self._drives
        for number, power in enumerate(self._powers):
            states[:, 1 << number :] += states[:, : -(1 << number)] @ power
        blocks[:, :, length:] = states[:, :-1]
        weighted: Waveform = blocks @ self._heard
        return weighted.reshape(2, -1)[:, :count]


@cache
def biquads(sample_rate: int) -> tuple[Biquad, Biquad]:
    """Return the shelf and the high pass for a rate; at 48 kHz they are those of BS.1770-4.

    The analogue filters that the recommendation's coefficients are of, brought to other rates by
    the bilinear transform: De Man (2014), "Evaluation of implementations of the EBU R128 loudness
    measurement".
    """
    gain, quality = 10 ** (3.999843853973347 / 20), 0.7071752369554196
    # Rates too low to hold the shelf at all have it at their end.
    k = math.tan(math.pi * min(1681.974450955533 / sample_rate, 0.49))
    middle = gain**0.4996667741545416
    a0 = 1 + k / quality + k * k
    shelf = (
        (gain + middle * k / quality + k * k) / a0,
        2 * (k * k - gain) / a0,
        (gain - middle * k / quality + k * k) / a0,
        2 * (k * k - 1) / a0,
        (1 - k / quality + k * k) / a0,
    )
    k, quality = math.tan(math.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    a0 = 1 + k / quality + k * k
    high_pass = (1.0, -2.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / quality + k * k) / a0)
    return shelf, high_pass


def _response(sections: tuple[Biquad, ...], length: int) -> npt.NDArray[np.float64]:
    """Return the matrix of a block: its samples and the state before -> output, state behind."""
    inputs = np.eye(length + 2 * len(sections))
    state, outputs = list(inputs[length:]), []
    for sample in inputs[:length]:
        value = sample
        for number, (b0, b1, b2, a1, a2) in enumerate(sections):
            first, second = 2 * number, 2 * number + 1
            output = b0 * value + state[first]
            state[first] = b1 * value - a1 * output + state[second]
            state[second] = b2 * value - a2 * output
            value = output
        outputs.append(value)
    return np.array([*outputs, *state])


def _lufs(power: float) -> float:
    return round(max(GATE, OFFSET + 10 * math.log10(power)), DIGITS) if power else GATE


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - OFFSET) / 10))


KIND = Kind(
    "loudness_lufs_by_second",
    (
        Figure(
            "loudness_lufs",
            "Integrated loudness (LUFS)",
            (-40, -30, -26, -23, -20, -18, -16, -14, -12, -10, -8, -6),
        ),
    ),
    Loudness,
)
