"""How far what is measured of a track may go before the track is left out."""

from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveFloat

from storage.config import Config, MeasuredIn


class MeasureLimits(Config):
    """Limits on a track's figures; none are given at the default, which keeps every track."""

    NEUTRAL: ClassVar[frozenset[str]] = frozenset(
        {
            "min_bandwidth_hz",
            "max_correlation",
            "max_clipped_share",
            "min_loudness_lufs",
            "max_zeros_seconds",
        }
    )

    min_bandwidth_hz: Annotated[PositiveFloat | None, MeasuredIn("Hz")] = None
    """Tracks whose highest frequency is below are filtered, at 16000 as `bandwidth_below_16000`:
    lossy codecs cut high frequencies off."""
    max_correlation: Annotated[float, Field(ge=-1, le=1)] | None = None
    """Tracks whose left and right channels are more alike are filtered, at 0.99 as
    `correlation_above_0.99`. Mono has 1."""
    max_clipped_share: Annotated[float, Field(ge=0, le=1)] | None = None
    """Tracks of whose samples a larger share is at full scale are filtered, at 0.001 as
    `clipped_above_0.001`."""
    min_loudness_lufs: Annotated[float | None, MeasuredIn("LUFS")] = None
    """Tracks of a lower integrated loudness (EBU R128) are filtered, at -40 as
    `loudness_below_-40`."""
    max_zeros_seconds: NonNegativeFloat | None = None
    """Tracks that begin or end with more digital silence are filtered, at 2 as `zeros_above_2`."""

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the settings that are given and judge what is measured."""
        return tuple(name for name in MeasureLimits.model_fields if getattr(self, name) is not None)
