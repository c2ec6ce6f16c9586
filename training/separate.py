"""Whole-song separation: overlapping chunks through a model, averaged where they overlap.

Tensors: S outputs, C audio channels, T samples, K chunks.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from training.config import SeparateConfig
from training.models.separator import Separator

SILENT_PEAK = 2.0**-17
"""Peak below which a chunk is silent: half a 16-bit step, so nothing but dither and rounding."""

Progress = Callable[[int, int], None]
"""Called with chunks done and chunks in all."""


def separate(
    model: Separator,
    waveform_CT: Tensor,
    config: SeparateConfig,
    progress: Progress | None = None,
) -> Tensor:
    """Separate a song of any length into [S, C, T] on the CPU, in float32.

    Chunks overlap and are averaged with equal weight, as in the authors' code. Two things differ.
    Its last chunk is filled up with zeros, over which the network's normalisations then average;
    here the last chunk is moved back to end with the song, and only its part past the regular
    start is used. And it leaves silent chunks out, so that stems no longer sum to the song; here
    they are shared out equally.

    Args:
        model: in evaluation mode, on the device to work on.
        waveform_CT: [C, T], T >= 1, at the model's sample rate.
        config: chunk and hop in seconds, chunks per forward pass.
        progress: told of every forward pass.
    """
    rate, length = model.config.sample_rate, waveform_CT.shape[-1]
    chunk = min(length, max(1, round(config.chunk_seconds * rate)))
    hop = max(1, min(chunk, round(config.hop_seconds * rate)))
    spans = chunk_spans(length, chunk, hop)
    level_C1 = _level(waveform_CT)
    scaled_CT = waveform_CT.float() / level_C1
    total_SCT = torch.zeros(model.config.outputs, *waveform_CT.shape)
    count_T = torch.zeros(length)
    for first in range(0, len(spans), config.batch_size):
        group = spans[first : first + config.batch_size]
        chunks_KCT = torch.stack([scaled_CT[:, start : start + chunk] for start, _ in group])
        loud = [bool((waveform_CT[:, s : s + chunk].abs() > SILENT_PEAK).any()) for s, _ in group]
        outputs_KSCT = _outputs(model, chunks_KCT, torch.tensor(loud))
        for (start, used), output_SCT in zip(group, outputs_KSCT, strict=True):
            total_SCT[..., used : start + chunk] += output_SCT[..., used - start :]
            count_T[used : start + chunk] += 1
        if progress:
            progress(min(first + config.batch_size, len(spans)), len(spans))
    return total_SCT.div_(count_T).mul_(level_C1)


def chunk_spans(length: int, chunk: int, hop: int) -> list[tuple[int, int]]:
    """Return, for each chunk, where it starts and from where on its output is used.

    The two differ only in the last one, which ends where the song does.
    """
    spans = [(start, start) for start in range(0, length - chunk + 1, hop)]
    end = spans[-1][0] + chunk
    if end < length:
        spans.append((length - chunk, spans[-1][0] + hop))
    return spans


def _level(waveform_CT: Tensor) -> Tensor:
    """Return each channel's RMS rounded to a power of two, by which division is exact."""
    rms_C1 = waveform_CT.double().square().mean(-1, keepdim=True).sqrt()
    exponent_C1 = rms_C1.clamp_min(2.0**-60).log2().round()
    return torch.where(rms_C1 > 0, 2.0**exponent_C1, torch.ones_like(rms_C1)).float()


@torch.inference_mode()
def _outputs(model: Separator, chunks_KCT: Tensor, loud_K: Tensor) -> Tensor:
    outputs = model.config.outputs
    shared_KSCT = (chunks_KCT / outputs).unsqueeze(1).repeat(1, outputs, 1, 1)
    if loud_K.any():
        device = device_of(model)
        shared_KSCT[loud_K] = model(chunks_KCT[loud_K].unsqueeze(1).to(device)).float().cpu()
    return shared_KSCT


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's weights; the CPU if it has none."""
    return next(_tensors(model), torch.empty(0)).device


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    yield from model.parameters()
    yield from model.buffers()
