"""What every model's settings answer, torch-free: plans, checks and forms need no model.

A model is a package `training/models/<kind>/`: `config.py` holds its settings (a `ModelSettings`),
`model.py` its class (a `Separator`), and one line in `table.py` joins the two.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from storage.config import Config, MeasuredIn

Ability = Literal["choose_outputs", "freeze"]
"""What a model may be able to do beside separating: see `training.models.separator`."""


class ModelSettings(Config):
    """The settings that all models share; each adds its own, and a `kind` that names it."""

    ABILITIES: ClassVar[frozenset[Ability]] = frozenset()
    """What this model can do beside separating."""
    CHUNK_SECONDS: ClassVar[PositiveFloat] = 12.0
    """Length of the chunks that a whole song is best separated in."""
    INPUTS: ClassVar[int] = 1
    """Waveforms I that it takes: 1 for a separator of a mixture."""

    kind: str
    """Which model this is."""
    outputs: PositiveInt = 4
    """Separated signals S."""
    audio_channels: PositiveInt = 2
    """Channels C of the sound that goes in and comes out: 1 is mono, 2 stereo."""
    sample_rate: Annotated[PositiveInt, MeasuredIn("Hz")] = 44_100
    """Rate of the sound that goes in and comes out."""

    @property
    def size(self) -> str:
        """Name of the published size that these settings are, whatever their outputs; or empty."""
        return ""

    def operations(self, samples: int) -> float:
        """Return the floating-point operations of one forward pass over one example.

        Two for each multiply-accumulate of convolutions, linear maps and attention products; all
        else counts as nothing. Only estimates of time read it.

        Args:
            samples: length T of the example.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what a pass takes")
