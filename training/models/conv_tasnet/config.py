"""Settings of Conv-TasNet, torch-free, and its sizes."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from storage.config import MeasuredIn
from training.models.settings import Ability, ModelSettings


class ConvTasNetConfig(ModelSettings):
    """Conv-TasNet (Luo & Mesgarani 2019), non-causal; defaults are its best sizes, Table II.

    The paper's letters are given for each field. Its skip width Sc is its bottleneck B here, as in
    torchaudio, whose mask network this is.
    """

    ABILITIES: ClassVar[frozenset[Ability]] = frozenset({"choose_outputs", "freeze"})
    CHUNK_SECONDS: ClassVar[float] = 4.0
    """The paper's training segments: its norms run over a whole chunk, so chunks are as long."""

    kind: Literal["conv_tasnet"] = "conv_tasnet"
    filters: PositiveInt = 512
    """N: filters of the learned encoder and decoder (section II-A)."""
    filter_length: Annotated[int, Field(ge=2), MeasuredIn("samples")] = 16
    """L: their length; they are L // 2 apart. The paper's 16 are 2 ms of its speech at
    8 kHz; a longer filter makes fewer frames, and saves memory and time in proportion."""
    bottleneck: PositiveInt = 128
    """B: features between the blocks of the mask network, and of their skips (section II-C)."""
    hidden: PositiveInt = 512
    """H: features inside a block."""
    kernel: Literal[3] = 3
    """P: frames that a block's depthwise convolution sees. torchaudio pads for no other."""
    layers: PositiveInt = 8
    """X: blocks of one repeat, dilated 1, 2, 4, ..."""
    repeats: PositiveInt = 3
    """R: repeats of the stack of blocks."""
    mask: Literal["sigmoid", "relu"] = "sigmoid"
    """What ends the mask network: the paper's sigmoid, or torchaudio's own choice, relu."""

    def operations(self, samples: int) -> float:
        """Return the floating-point operations of one pass over `samples` samples.

        Convolutions, two for each multiply-accumulate.
        """
        stride, odd = self.filter_length // 2, self.filter_length % 2
        frames = 1 + -(-(samples - odd) // stride)
        basis = self.filters * self.filter_length * self.audio_channels
        blocks = self.layers * self.repeats
        pointwise = (3 * blocks - 1) * self.bottleneck * self.hidden
        depthwise = blocks * self.kernel * self.hidden
        ends = (1 + self.outputs) * (basis + self.filters * self.bottleneck)
        return 2.0 * frames * (pointwise + depthwise + ends)


PUBLISHED = ConvTasNetConfig()
"""The paper's best model; mono and of two outputs in its pages."""

LONG_FILTERS = PUBLISHED.model_copy(update={"filter_length": 110})
"""The same with filters of 2.5 ms at 44.1 kHz: ten seconds of music fit into a training step."""

MICRO = ConvTasNetConfig(filters=16, bottleneck=8, hidden=12, layers=3, repeats=2)
"""For tests."""
