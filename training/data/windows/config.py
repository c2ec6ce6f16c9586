"""The settings of windows of whole songs."""

from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from training.data.settings import DataSettings, References


class WindowsData(DataSettings):
    """Windows of the mixtures of whole songs, added in pairs to mixtures of mixtures (MoM)."""

    REFERENCES: ClassVar[References] = "mixtures"

    kind: Literal["windows"] = "windows"
    batch_size: PositiveInt = 32
    """MoMs per step over all processes."""
    segment_seconds: PositiveFloat = 10.0
    """Length of a window. A shorter song is one window, filled up with silence."""
    gain_db: NonNegativeFloat = 0.0
    """The power ratio of the two mixtures is uniform in ±gain_db."""

    @property
    def references(self) -> int:
        """References P: the two mixtures."""
        return 2
