"""Settings of Hybrid Demucs, torch-free, and its sizes."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, PositiveInt, model_validator

from storage.config import MeasuredIn
from training.models.settings import Ability, ModelSettings

DEPTHS = {1024: 5, 2048: 6, 4096: 6}
"""Layers down to one frequency, by length of the transform: those that torchaudio builds."""

KERNEL, STRIDE, TIME_STRIDE = 8, 4, 2
"""Kernel and stride of every layer, and the stride over frames once one frequency is left."""

DEEP = 4
"""From this layer on there are group norms, and LSTMs and attention in the residual branches."""

HEADS, DECAYS, GROUPS = 4, 4, 4
"""Heads of the local attention, penalties of distance for each, and groups of the norms."""

LSTM_FRAMES = 200
"""Frames that an LSTM sees at once; longer inputs are cut into such pieces, half overlapping."""


class Layer(NamedTuple):
    """One layer of a branch's encoder, which the decoder mirrors."""

    number: int
    inputs: int
    """Channels that it takes and its mirror gives; 0 for those of the sound itself."""
    channels: int
    kernel: int
    rows: int
    """Frequencies that it gives; 1 where there is time only."""
    frames: int
    """Places in time that it gives."""
    branch: Literal["spectrum", "waveform", "both"]
    bare: bool
    """It is a convolution alone: where the waveform's branch joins the other."""


class HdemucsConfig(ModelSettings):
    """Hybrid Demucs (Défossez 2021, "Hybrid Spectrogram and Waveform Source Separation").

    Two U-Nets, over the spectrogram and over the waveform, that share their innermost layers. The
    form is torchaudio's `HDemucs`, the defaults its `hdemucs_high` (section 3 of the paper).
    """

    ABILITIES: ClassVar[frozenset[Ability]] = frozenset({"choose_outputs"})
    """Not `freeze`: a U-Net has no body between encoder and decoder."""
    CHUNK_SECONDS: ClassVar[float] = 10.0

    kind: Literal["hdemucs"] = "hdemucs"
    n_fft: Annotated[Literal[1024, 2048, 4096], MeasuredIn("samples")] = 4096
    """Length of the transform, its hop a quarter of it; for 8 kHz, for 16 to 32 kHz,
    and for 44.1 to 48 kHz. It decides the number of layers."""
    channels: PositiveInt = 48
    """Channels after the first layer of either branch."""
    growth: PositiveInt = 2
    """How many times more channels each further layer has."""
    residual_layers: PositiveInt = 2
    """Dilated layers of the residual branch that ends each encoder layer."""
    compress: PositiveInt = 4
    """How many times fewer channels there are inside a residual branch."""
    frequency_embedding: float = Field(default=0.2, ge=0)
    """Weight of the learned embedding of frequency after the first spectral layer; 0 has none."""

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        for layer in range(DEPTHS[self.n_fft]):
            width = self.channels * self.growth**layer
            inner = width // self.compress
            if inner < 1 or (layer >= DEEP and (width % GROUPS or inner % HEADS)):
                raise ValueError(
                    f"layer {layer + 1} has {width} channels and {inner} in its residual branch; "
                    f"from layer {DEEP + 1} on both must be multiples of {HEADS}: change channels"
                )
        return self

    @property
    def depth(self) -> int:
        """Layers of the encoder, and of the decoder."""
        return DEPTHS[self.n_fft]

    def operations(self, samples: int) -> float:
        """Return the floating-point operations of one pass over `samples` samples.

        Convolutions, LSTMs and attention products, two for each multiply-accumulate.
        """
        total = 0
        for layer in self._layers(max(samples, self.n_fft)):
            parts = 2 if layer.branch == "spectrum" else 1
            inputs = layer.inputs or parts * self.audio_channels
            results = layer.inputs or parts * self.audio_channels * self.outputs
            positions = layer.rows * layer.frames
            total += positions * layer.kernel * layer.channels * (inputs + results)
            if not layer.bare:
                seen = 9 if layer.branch == "spectrum" else 3
                total += positions * (1 + seen) * 2 * layer.channels**2
                total += self.residual_layers * layer.rows * self._residual_products(layer)
        return 2.0 * total

    def _layers(self, samples: int) -> Iterator[Layer]:
        """Yield the encoder layers of both branches, for inputs of `samples` samples."""
        rows, frames, inputs = self.n_fft // 2, -(-samples // (self.n_fft // 4)), 0
        for number in range(self.depth):
            channels = self.channels * self.growth**number
            if rows == 1:
                frames = -(-frames // TIME_STRIDE)
                kernel = 2 * TIME_STRIDE
                yield Layer(number, inputs, channels, kernel, rows, frames, "both", bare=False)
            else:
                last = rows <= KERNEL
                short = last and self.n_fft == 2048  # its hop is no power of the stride
                stride = TIME_STRIDE if short else STRIDE
                samples = -(-samples // stride)
                yield Layer(number, inputs, channels, 2 * stride, 1, samples, "waveform", last)
                kernel, rows = (rows, 1) if last else (KERNEL, rows // STRIDE)
                yield Layer(number, inputs, channels, kernel, rows, frames, "spectrum", bare=False)
            inputs = channels

    def _residual_products(self, layer: Layer) -> int:
        """Return the multiply-accumulates of one residual layer over one row's frames."""
        frames, inner = layer.frames, layer.channels // self.compress
        products = frames * (3 + 2) * layer.channels * inner
        if layer.number >= DEEP:
            hop = LSTM_FRAMES // 2
            steps = frames if frames <= LSTM_FRAMES else -(-frames // hop) * LSTM_FRAMES
            # Two bidirectional LSTM layers, of four gates, and the map back to `inner`.
            products += steps * (2 * 4 * (2 + 3) + 2) * inner**2
            products += frames * (4 * inner**2 + HEADS * DECAYS * inner)
            products += frames**2 * (2 * inner + HEADS * DECAYS)
        return products


PUBLISHED = HdemucsConfig()
"""torchaudio's `hdemucs_high`, of which it publishes weights trained on MUSDB18-HQ."""

MICRO = HdemucsConfig(n_fft=1024, channels=4)
"""For tests: five layers, the innermost with LSTM and attention."""
