"""The settings of BS-Locoformer, and its sizes."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from storage.config import MeasuredIn
from training.models.settings import Ability, ModelSettings

WIDTHS = {"blocks", "width", "hidden", "heads", "groups"}
"""Settings in which sizes differ."""
BANDS = 62
"""Of the published models; operations are counted as if there were as many always."""


class BsLocoformerConfig(ModelSettings):
    """BS-Locoformer (Saijo & Bando 2025, section 4.2). Small, medium and large are values."""

    ABILITIES: ClassVar[frozenset[Ability]] = frozenset({"choose_outputs", "freeze"})

    kind: Literal["bs_locoformer"] = "bs_locoformer"
    outputs: PositiveInt = 12
    """Separated signals N (12 in pre-training, 4 after channel selection)."""
    n_fft: Annotated[PositiveInt, MeasuredIn("samples")] = 2048
    """Length of the STFT's window (Hann) and transform."""
    hop: Annotated[PositiveInt, MeasuredIn("samples")] = 512
    """Hop of the STFT; a shorter one makes more frames, which cost time and memory."""
    blocks: PositiveInt = 6
    """TF-Locoformer blocks B, each a frequency path then a temporal path."""
    width: PositiveInt = 128
    """Embedding dimension D."""
    hidden: PositiveInt = 192
    """Hidden dimension C of each of the two convolutional feed-forward networks of a path."""
    kernel: PositiveInt = 8
    """Kernel size K of the feed-forward convolutions (stride 1)."""
    heads: PositiveInt = 8
    """Heads H of attention; a divisor of the width (paper: 4 small, 8 medium and large)."""
    groups: PositiveInt = 8
    """Groups G of the RMS group normalisation."""
    dropout: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Not in the paper; 0.1 in the authors' code, in FFNs, attention and its projection."""
    keep_last_frame: bool = False
    """Keep all 1 + L // hop STFT frames. The authors' code drops the last one."""
    decoder_tanh: Literal["second", "first", "both"] = "second"
    """Which of the mask decoder's two hidden layers end in a tanh: `second` in the code of this
    paper, `first` in its authors' later release of the model, `both` in their TUSS (2025)."""

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        for name in ("heads", "groups"):
            if self.width % getattr(self, name):
                raise ValueError(f"width {self.width} must be a multiple of {name}")
        return self

    @property
    def size(self) -> str:
        """Name of the size in `SIZES` that these settings are, whatever their outputs; or empty."""
        own = self.model_dump(include=WIDTHS)
        return next(
            (name for name, it in SIZES.items() if it.model_dump(include=WIDTHS) == own), ""
        )

    def operations(self, samples: int) -> float:
        """Return the floating-point operations of a forward pass over `samples` samples."""
        frames = samples // self.hop
        bins, width, inner = self.n_fft // 2 + 1, self.width, 4 * self.width
        encoder = 2 * self.audio_channels * bins * width
        hidden = BANDS * (width * inner + inner * inner)
        # Real and imaginary part, each with its gate.
        masks = inner * 4 * self.outputs * self.audio_channels * bins
        return self.block_operations(frames) + 2.0 * frames * (encoder + hidden + masks)

    def block_operations(self, frames: int) -> float:
        """Return those of the blocks alone, 94 to 97 % of the published models'."""
        tokens = frames * BANDS
        convolutions = 2 * 3 * self.hidden * self.width * self.kernel
        # They are padded by kernel - 1 on both sides, in half of the paths over bands.
        edge = 1 + (self.kernel - 1) * (1 / frames + 1 / BANDS) / 2
        projections = 4 * self.width**2
        attention = 2 * self.width * (frames + BANDS) / 2
        return 2.0 * tokens * 2 * self.blocks * (convolutions * edge + projections + attention)


SMALL = BsLocoformerConfig(blocks=4, width=96, hidden=128, heads=4, groups=4)
"""5.02 M parameters in the separator."""
MEDIUM = BsLocoformerConfig(blocks=6, width=128, hidden=192, heads=8, groups=8)
"""14.96 M parameters in the separator."""
LARGE = BsLocoformerConfig(blocks=9, width=192, hidden=256, heads=8, groups=8)
"""45.16 M parameters in the separator."""
TINY = BsLocoformerConfig(
    outputs=8, blocks=2, width=32, hidden=32, kernel=4, heads=2, groups=2, dropout=0
)
"""For minutes on two cores, where dropout would triple the time of a step."""
MICRO = BsLocoformerConfig(
    outputs=6, blocks=1, width=16, hidden=8, kernel=4, heads=2, groups=2, dropout=0
)
"""For tests."""
SIZES = {"small": SMALL, "medium": MEDIUM, "large": LARGE, "tiny": TINY, "micro": MICRO}
"""Every size by its name."""
