"""Settings of BS-RoFormer, torch-free, and its sizes."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from storage.config import MeasuredIn
from training.models.settings import Ability, ModelSettings

BANDS = (2,) * 24 + (4,) * 12 + (12,) * 8 + (24,) * 8 + (48,) * 8 + (128, 129)
"""Bins of each of the paper's 62 bands, lowest first: they cover the 1025 of a 2048 transform."""

FEED_FORWARD = 4
"""Hidden features of a feed-forward network, in widths (community form)."""


class BsRoformerConfig(ModelSettings):
    """BS-RoFormer (Lu et al. 2023, "Music Source Separation with Band-Split RoPE Transformer").

    The form is that of the community's checkpoints, which adds to the paper a gate on each head of
    attention and RMS norms; it is fixed, and only sizes are settings. The defaults are the paper's
    smaller model.
    """

    ABILITIES: ClassVar[frozenset[Ability]] = frozenset({"choose_outputs", "freeze"})
    CHUNK_SECONDS: ClassVar[float] = 8.0

    kind: Literal["bs_roformer"] = "bs_roformer"
    n_fft: Annotated[PositiveInt, MeasuredIn("samples")] = 2048
    """Length of the STFT's window (Hann) and transform (paper: experiments, configuration)."""
    hop: Annotated[PositiveInt, MeasuredIn("samples")] = 441
    """Hop of the STFT; the paper's 10 ms."""
    bands: tuple[PositiveInt, ...] = BANDS
    """Bins of each band, lowest first; they add up to n_fft // 2 + 1 (paper: band-split module)."""
    width: PositiveInt = 384
    """Features D of one token, a band of a frame (paper: band-split module)."""
    blocks: PositiveInt = 6
    """Blocks L, each a transformer over frames then one over bands (paper: RoPE transformer
    blocks)."""
    time_layers: PositiveInt = 1
    """Layers (attention, then feed-forward) of a block's transformer over frames."""
    band_layers: PositiveInt = 1
    """Layers of a block's transformer over bands."""
    heads: PositiveInt = 8
    """Heads of attention (paper: RoPE transformer blocks)."""
    head_width: PositiveInt = Field(default=48, multiple_of=2)
    """Features of one head; even, for rotary positions turn them in pairs. Heads need not add up
    to the width: the community's models have 64 at any width."""
    mask_layers: PositiveInt = 2
    """Linear layers of each band's mask network, a tanh between them (paper: mask estimation)."""
    mask_expansion: PositiveInt = 4
    """Hidden features of a mask network, in widths (paper: mask estimation, 4 D)."""
    attention_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of attention weights, and of attention's outputs, dropped in training."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share dropped in training after each linear layer of a feed-forward network."""
    dense_skips: bool = False
    """Give each block the sum of its own input and of all earlier blocks' outputs (community
    form only, where it is called `skip_connection`)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        bins = self.n_fft // 2 + 1
        if sum(self.bands) != bins:
            raise ValueError(
                f"bands cover {sum(self.bands)} bins; n_fft {self.n_fft} has {bins}: set both"
            )
        if self.hop > self.n_fft // 3:
            raise ValueError(
                f"hop {self.hop} is too large for windows to overlap; set at most n_fft // 3 = "
                f"{self.n_fft // 3}"
            )
        return self

    def operations(self, samples: int) -> float:
        """Return the floating-point operations of one pass over `samples` samples.

        Linear maps and attention products, two for each multiply-accumulate.
        """
        frames = 1 + max(samples, self.n_fft) // self.hop
        bands, inner = len(self.bands), self.heads * self.head_width
        features = 2 * self.audio_channels * sum(self.bands)
        projections = self.width * (4 * inner + self.heads)
        layer = frames * bands * (projections + 2 * FEED_FORWARD * self.width**2)
        over_frames = self.time_layers * (layer + 2 * inner * bands * frames**2)
        over_bands = self.band_layers * (layer + 2 * inner * frames * bands**2)
        split = frames * features * self.width
        masks = self.outputs * frames * self._mask_products(features)
        return 2.0 * (split + self.blocks * (over_frames + over_bands) + masks)

    def _mask_products(self, features: int) -> int:
        """Return the multiply-accumulates of all bands' mask networks for one frame and output."""
        if self.mask_layers == 1:
            return self.width * 2 * features
        hidden = self.mask_expansion * self.width
        between = (self.mask_layers - 2) * hidden**2
        return len(self.bands) * (self.width * hidden + between) + hidden * 2 * features


PUBLISHED = BsRoformerConfig(outputs=1)
"""The paper's model for MUSDB18-HQ alone, L = 6; it trains one for each stem."""

PUBLISHED_LARGE = PUBLISHED.model_copy(update={"blocks": 12})
"""The paper's model for more data, L = 12."""

COMMUNITY = PUBLISHED.model_copy(update={"width": 512, "blocks": 12, "head_width": 64})
"""The size of the community's best-known vocal models."""

MICRO = BsRoformerConfig(
    n_fft=256,
    hop=64,
    bands=(2,) * 8 + (4,) * 4 + (12,) * 4 + (24, 25),
    width=16,
    blocks=2,
    heads=2,
    head_width=8,
    mask_expansion=2,
)
"""For tests: four outputs in a fraction of a second."""
