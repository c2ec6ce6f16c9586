"""BS-Locoformer written out literally as published: the oracle for the fast model.

62 GroupNorm + Conv1d modules, padded Conv1d / cropped ConvTranspose1d feed-forward networks, and
attention written out with a softmax, on [B, D, N, K] features. No dropout. `copied_from` takes the
weights of a fast model.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.models.bs_locoformer.bands import band_widths
from training.models.bs_locoformer.config import BsLocoformerConfig
from training.models.bs_locoformer.model import Attention, BsLocoformer, ConvSwiGLU, Path


class PublishedNorm(nn.Module):
    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.gamma, self.groups = nn.Parameter(torch.ones(width)), groups

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-1] // self.groups
        pieces = []
        for group in range(self.groups):
            piece = x[..., group * size : (group + 1) * size]
            rms = piece.norm(dim=-1, keepdim=True) / math.sqrt(size)
            pieces.append(piece / (rms + 1e-5))
        return torch.cat(pieces, -1) * self.gamma


class PublishedFeedForward(nn.Module):
    def __init__(self, config: BsLocoformerConfig) -> None:
        super().__init__()
        self.hidden, self.kernel = config.hidden, config.kernel
        self.conv = nn.Conv1d(config.width, 2 * config.hidden, config.kernel)
        self.deconv = nn.ConvTranspose1d(config.hidden, config.width, config.kernel)

    def forward(self, x: Tensor) -> Tensor:
        length, margin = x.shape[1], self.kernel - 1
        h = self.conv(F.pad(x.transpose(1, 2), (margin, margin)))
        h = h[:, : self.hidden] * F.silu(h[:, self.hidden :])
        return self.deconv(h)[..., margin : margin + length].transpose(1, 2)  # type: ignore[no-any-return]


class PublishedAttention(nn.Module):
    fused = False
    """Measure as published, with torch's fused attention; as an oracle it is written out."""

    def __init__(self, config: BsLocoformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query, self.key, self.value, self.out = (
            nn.Linear(config.width, config.width, bias=False) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        projected = (self.query(x), self.key(x), self.value(x))
        if self.fused:
            parts = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in projected)
            mixed = F.scaled_dot_product_attention(*parts)
            return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]
        for query, key, value in zip(*(y.chunk(self.heads, -1) for y in projected), strict=True):
            scores = query @ key.transpose(1, 2) / math.sqrt(query.shape[-1])
            outputs.append(torch.softmax(scores, -1) @ value)
        return self.out(torch.cat(outputs, -1))  # type: ignore[no-any-return]


class PublishedPath(nn.Module):
    def __init__(self, config: BsLocoformerConfig) -> None:
        super().__init__()
        self.norms = nn.ModuleList(PublishedNorm(config.width, config.groups) for _ in range(3))
        self.steps = nn.ModuleList(
            [
                PublishedFeedForward(config),
                PublishedAttention(config),
                PublishedFeedForward(config),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        for norm, step in zip(self.norms, self.steps, strict=True):
            x = x + step(norm(x))
        return x


def published_decoder(config: BsLocoformerConfig, bins: int) -> nn.Sequential:
    """One band's mask decoder; the convolutions' indices are 1, 2, 4 or 1, 3, 4 or 1, 3, 5."""
    width, tanh = config.width, config.decoder_tanh
    layers: list[nn.Module] = [nn.GroupNorm(1, width), nn.Conv1d(width, 4 * width, 1)]
    layers += [nn.Tanh()] * (tanh in ("first", "both"))
    layers += [nn.Conv1d(4 * width, 4 * width, 1)]
    layers += [nn.Tanh()] * (tanh in ("second", "both"))
    masks = 2 * 2 * config.outputs * config.audio_channels * bins
    return nn.Sequential(*layers, nn.Conv1d(4 * width, masks, 1), nn.GLU(dim=1))


class Transcription(nn.Module):
    """The published model on a waveform [B, C, T]; returns [B, S, C, T]."""

    def __init__(self, config: BsLocoformerConfig) -> None:
        super().__init__()
        self.config, width, channels = config, config.width, config.audio_channels
        self.widths = band_widths(config.n_fft, config.sample_rate)
        self.split = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, 2 * channels * bins), nn.Conv1d(2 * channels * bins, width, 1)
            )
            for bins in self.widths
        )
        self.paths = nn.ModuleList(PublishedPath(config) for _ in range(2 * config.blocks))
        self.decode = nn.ModuleList(published_decoder(config, bins) for bins in self.widths)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, length = x.shape
        spectrum = self._spectrum(x)
        power = spectrum.abs().square().clamp(min=1e-15).mean((-2, -1))
        scale = power.sqrt().view(batch, channels, 1)
        spectrum = self._spectrum(x / scale)
        if not self.config.keep_last_frame:
            spectrum = spectrum[..., : length // self.config.hop]
        estimate = spectrum.unsqueeze(1) * self._mask(spectrum)
        waves = torch.istft(
            estimate.flatten(0, 2),
            self.config.n_fft,
            self.config.hop,
            window=torch.hann_window(self.config.n_fft, device=x.device),
            length=length,
        )
        return waves.view(batch, -1, channels, length) * scale.unsqueeze(1)

    def _spectrum(self, x: Tensor) -> Tensor:
        n_fft = self.config.n_fft
        window = torch.hann_window(n_fft, device=x.device)
        frames = torch.stft(
            x.flatten(0, 1), n_fft, self.config.hop, window=window, return_complex=True
        )
        return frames.view(*x.shape[:2], *frames.shape[1:])

    def _mask(self, spectrum: Tensor) -> Tensor:
        batch, channels, _, frames = spectrum.shape
        # [B, F, (Re ch0, Re ch1, Im ch0, Im ch1), N]
        bins = torch.cat([spectrum.real, spectrum.imag], 1).transpose(1, 2)
        bands = [piece.flatten(1, 2) for piece in torch.split(bins, list(self.widths), dim=1)]
        z = torch.stack([split(x) for split, x in zip(self.split, bands, strict=True)], -1)
        for index, path in enumerate(self.paths):
            z = self._along_bands(path, z) if index % 2 == 0 else self._along_time(path, z)
        masks = []
        for band, (decode, size) in enumerate(zip(self.decode, self.widths, strict=True)):
            parts = decode(z[..., band]).float().view(batch, 2, -1, channels, size, frames)
            masks.append(torch.complex(parts[:, 0], parts[:, 1]))
        return torch.cat(masks, -2)

    @staticmethod
    def _along_bands(path: nn.Module, z: Tensor) -> Tensor:
        batch, width, frames, bands = z.shape
        y = path(z.permute(0, 2, 3, 1).reshape(batch * frames, bands, width))
        return y.view(batch, frames, bands, width).permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    @staticmethod
    def _along_time(path: nn.Module, z: Tensor) -> Tensor:
        batch, width, frames, bands = z.shape
        y = path(z.permute(0, 3, 2, 1).reshape(batch * bands, frames, width))
        return y.view(batch, bands, frames, width).permute(0, 3, 2, 1)  # type: ignore[no-any-return]


Pairs = list[tuple[nn.Parameter, Tensor]]
"""A published parameter, and the fast model's tensor (or its gradient) in the published shape."""

Read = Callable[[Any], Tensor]


def pairs(oracle: Transcription, model: BsLocoformer, gradient: bool = False) -> Pairs:
    """Match every published parameter with the fast model's weight, or with its gradient."""

    def of(parameter: nn.Parameter) -> Tensor:
        if not gradient:
            return parameter.detach()
        assert parameter.grad is not None
        return parameter.grad

    split: list[Any] = list(oracle.split)
    decode: list[Any] = list(oracle.decode)
    matched: Pairs = []
    for group, (bands, _) in enumerate(model.encoder.groups):
        for index in range(bands):
            matched += _encoder_pairs(split.pop(0), model.encoder, (group, index), of)
            band = len(decode) - len(split) - 1
            matched += _decoder_pairs(decode[band], model.decoder, (band, group, index), of)
    blocks: list[Any] = list(model.blocks)
    paths = [path for block in blocks for path in block]
    for published, path in zip(oracle.paths, paths, strict=True):
        matched += _path_pairs(published, path, of)
    return matched


def _encoder_pairs(split: Any, encoder: Any, place: tuple[int, int], of: Read) -> Pairs:
    group, index = place
    norm, linear = encoder.norms[group], encoder.maps[group]
    return [
        (split[0].weight, of(norm.weight)[index].flatten()),
        (split[0].bias, of(norm.bias)[index].flatten()),
        (split[1].weight, of(linear.weight)[index].unsqueeze(-1)),
        (split[1].bias, of(linear.bias)[index]),
    ]


def _decoder_pairs(decode: Any, decoder: Any, place: tuple[int, int, int], of: Read) -> Pairs:
    band, group, index = place
    # Ours are [gate, S, C, W, P, in]; published ((gate, P, S, C, W), in, 1).
    weight = of(decoder.last_weights[group])[index].permute(0, 4, 1, 2, 3, 5)
    bias = of(decoder.last_biases[group])[index].permute(0, 4, 1, 2, 3)
    first, second, last = (layer for layer in decode if isinstance(layer, nn.Conv1d))
    return [
        (decode[0].weight, of(decoder.norm.weight)[band].flatten()),
        (decode[0].bias, of(decoder.norm.bias)[band].flatten()),
        (first.weight, of(decoder.first.weight)[band].unsqueeze(-1)),
        (first.bias, of(decoder.first.bias)[band]),
        (second.weight, of(decoder.second.weight)[band].unsqueeze(-1)),
        (second.bias, of(decoder.second.bias)[band]),
        (last.weight, weight.flatten(0, -2).unsqueeze(-1)),
        (last.bias, bias.flatten()),
    ]


def _path_pairs(published: Any, path: Path, of: Read) -> Pairs:
    matched: Pairs = []
    norms: list[Any] = list(path.norms)
    for norm, fast_norm in zip(published.norms, norms, strict=True):
        matched.append((norm.gamma, of(fast_norm.gamma)))
    steps: list[Any] = list(path.steps)
    for step, fast in zip(published.steps, steps, strict=True):
        if isinstance(fast, ConvSwiGLU):
            matched += [
                (step.conv.weight, of(fast.expand.weight).flatten(2)),
                (step.conv.bias, of(fast.expand.bias)),
                (step.deconv.weight, of(fast.contract.weight).flatten(2).flip(-1).transpose(0, 1)),
                (step.deconv.bias, of(fast.contract.bias)),
            ]
        else:
            assert isinstance(fast, Attention)
            query, key, value = of(fast.qkv.weight).chunk(3)
            matched += [
                (step.query.weight, query),
                (step.key.weight, key),
                (step.value.weight, value),
                (step.out.weight, of(fast.merge.weight)),
            ]
    return matched


def copied_from(model: BsLocoformer) -> Transcription:
    """Return the oracle with the weights of `model`; every published parameter is set."""
    # Nothing is drawn: at the published sizes that takes longer than a forward pass.
    with torch.device("meta"):
        oracle = Transcription(model.config)
    oracle.to_empty(device="cpu")
    matched = pairs(oracle, model)
    assert {id(p) for p, _ in matched} == {id(p) for p in oracle.parameters()}
    with torch.no_grad():
        for parameter, value in matched:
            assert parameter.shape == value.shape
            parameter.copy_(value)
    return oracle
