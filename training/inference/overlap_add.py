"""Whole-song separation: overlapping chunks through a model, averaged where they overlap.

Tensors: S outputs, C audio channels, T samples, K chunks.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.config import SeparateConfig
from training.models.separator import Separator, separation_of

SILENT_PEAK = 2.0**-17
"""Peak below which a chunk is silent: half a 16-bit step, so nothing but dither and rounding."""

Progress = Callable[[int, int], None]
"""Called with chunks done and chunks in all."""


class Signal(NamedTuple):
    """A song that is read in parts, wherever it lies."""

    read: Callable[[int, int], Tensor]
    """Called with a first sample and a number of samples; returns [C, T] in float32."""
    length: int
    """Samples, at least one."""
    mean_square: Tensor
    """[C], of each channel over the whole song, in float64."""


def separate(
    model: Separator,
    waveform_CT: Tensor,
    config: SeparateConfig,
    progress: Progress | None = None,
) -> Tensor:
    """Separate a song of any length into [S, C, T] on the CPU, in float32, as `separated` does.

    Args:
        model: in evaluation mode, on the device to work on.
        waveform_CT: [C, T], T >= 1, at the model's sample rate.
        config: chunk and hop in seconds, chunks per forward pass.
        progress: called after every forward pass.
    """
    signal = Signal(
        lambda start, samples: waveform_CT[:, start : start + samples].float(),
        waveform_CT.shape[-1],
        waveform_CT.double().square().mean(-1),
    )
    stems_SCT = torch.empty(model.config.outputs, *waveform_CT.shape)
    start = 0
    for piece_SCT in separated(model, signal, config, progress):
        stems_SCT[..., start : start + piece_SCT.shape[-1]] = piece_SCT
        start += piece_SCT.shape[-1]
    return stems_SCT


def separated(
    model: Separator, signal: Signal, config: SeparateConfig, progress: Progress | None = None
) -> Iterator[Tensor]:
    """Yield a song's stems [S, C, T] piece by piece, on the CPU, in float32.

    The memory it takes does not grow with the song. Chunks overlap and are averaged with equal
    weight, as in the authors' code. Two things differ. Its last chunk is filled up with zeros, over
    which the network's normalisations then average; here the last chunk is moved back to end with
    the song, and only its part past the regular start is used. And it leaves silent chunks out, so
    that stems no longer sum to the song; here they are shared out equally.
    """
    rate = model.config.sample_rate
    chunk_seconds, hop_seconds = chunks_of(model, config)
    chunk = min(signal.length, max(1, round(chunk_seconds * rate)))
    hop = max(1, min(chunk, round(hop_seconds * rate)) // config.shifts)
    spans = chunk_spans(signal.length, chunk, hop)
    level_C1 = _level(signal.mean_square)
    overlap = _Overlap((model.config.outputs, len(level_C1)), chunk + hop * (config.batch_size - 1))
    for first in range(0, len(spans), config.batch_size):
        group = spans[first : first + config.batch_size]
        chunks_KCT = torch.stack([signal.read(start, chunk) for start, _ in group])
        outputs_KSCT = _outputs(model, chunks_KCT, level_C1, config.swap_channels)
        for (start, used), output_SCT in zip(group, outputs_KSCT, strict=True):
            overlap.add(used, output_SCT[..., used - start :])
        done = first + len(group)
        origin = overlap.origin
        piece_SCT = overlap.take(spans[done][1] if done < len(spans) else signal.length)
        piece_SCT = piece_SCT.mul_(level_C1)
        if config.sum_to_mixture:
            piece_SCT = add_up(piece_SCT, signal.read(origin, piece_SCT.shape[-1]))
        yield piece_SCT
        if progress:
            progress(done, len(spans))


def chunks_of(model: Separator, config: SeparateConfig) -> tuple[float, float]:
    """Return the length of a chunk and the hop to the next in seconds: as set, or the model's."""
    if config.chunk_seconds is None:
        return model.chunk_seconds, config.hop_seconds or model.hop_seconds
    return config.chunk_seconds, config.hop_seconds or config.chunk_seconds / 2


def add_up(stems_SCT: Tensor, mixture_CT: Tensor) -> Tensor:
    """Return the stems with what they lack of the mixture shared out equally (Wisdom 2019).

    They then add up to it but for the rounding of each stem to float32.
    """
    rest_CT = mixture_CT.double() - stems_SCT.double().sum(0)
    return (stems_SCT.double() + rest_CT / len(stems_SCT)).float()


def chunk_spans(length: int, chunk: int, hop: int) -> list[tuple[int, int]]:
    """Return, for each chunk, where it starts and from where on its output is used.

    The two differ only in the last one, which ends where the song does.
    """
    spans = [(start, start) for start in range(0, length - chunk + 1, hop)]
    end = spans[-1][0] + chunk
    if end < length:
        spans.append((length - chunk, spans[-1][0] + hop))
    return spans


class _Overlap:
    """Sums of overlapping outputs and how many lie over each sample, from `origin` on.

    In float64, in which a few equal float32 values add up and divide again without rounding.
    """

    def __init__(self, shape: tuple[int, int], samples: int) -> None:
        self.origin = 0
        self._total_SCT = torch.zeros(*shape, samples, dtype=torch.float64)
        self._count_T = torch.zeros(samples, dtype=torch.float64)

    def add(self, start: int, output_SCT: Tensor) -> None:
        here = slice(start - self.origin, start - self.origin + output_SCT.shape[-1])
        self._total_SCT[..., here] += output_SCT
        self._count_T[here] += 1

    def take(self, end: int) -> Tensor:
        """Return the means up to sample `end`, which nothing will be added to any more."""
        samples = end - self.origin
        means_SCT = (self._total_SCT[..., :samples] / self._count_T[:samples]).float()
        for sums in (self._total_SCT, self._count_T):
            rest = sums[..., samples:].clone()
            sums[..., : rest.shape[-1]] = rest
            sums[..., rest.shape[-1] :] = 0
        self.origin = end
        return means_SCT


def _level(mean_square_C: Tensor) -> Tensor:
    """Return each channel's RMS [C, 1] rounded to a power of two, by which division is exact."""
    rms_C1 = mean_square_C.double().sqrt().unsqueeze(-1)
    exponent_C1 = rms_C1.clamp_min(2.0**-60).log2().round()
    return torch.where(rms_C1 > 0, 2.0**exponent_C1, torch.ones_like(rms_C1)).float()


@torch.inference_mode()
def _outputs(model: Separator, chunks_KCT: Tensor, level_C1: Tensor, swap: bool) -> Tensor:
    """Return each chunk's outputs, levelled; a silent one is shared out equally."""
    outputs = model.config.outputs
    loud_K = (chunks_KCT.abs() > SILENT_PEAK).any(-1).any(-1)
    levelled_KCT = chunks_KCT / level_C1
    shared_KSCT = (levelled_KCT / outputs).unsqueeze(1).repeat(1, outputs, 1, 1)
    if loud_K.any():
        given_KICT = levelled_KCT[loud_K].unsqueeze(1)
        found_KSCT = waveforms_of(model, given_KICT)
        if swap:
            found_KSCT = (found_KSCT + waveforms_of(model, given_KICT.flip(2)).flip(2)) / 2
        shared_KSCT[loud_K] = found_KSCT.cpu()
    return shared_KSCT


def waveforms_of(model: Separator, x_BICT: Tensor) -> Tensor:
    """Return what a model makes of inputs [B, I, C, T]: [B, S, C, T] in float32, on its device."""
    return separation_of(model(x_BICT.to(device_of(model)))).waveforms.float()


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's weights; the CPU if it has none."""
    return next(_tensors(model), torch.empty(0)).device


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
