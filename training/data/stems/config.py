"""The settings of songs with known stems."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from storage.records import STEMS
from training.data.settings import DataSettings, References


class StemsData(DataSettings):
    """Stems by random active windows, mixed dynamically (Saijo & Bando 2025, section 4.3)."""

    NEUTRAL: ClassVar[frozenset[str]] = frozenset({"stems"})
    REFERENCES: ClassVar[References] = "stems"

    kind: Literal["stems"] = "stems"
    batch_size: PositiveInt = 32
    """Mixtures per step over all processes."""
    segment_seconds: PositiveFloat = 6.0
    """Length of an example."""
    gain_db: NonNegativeFloat = 10.0
    """Each stem is scaled by a gain uniform in ±gain_db."""
    drop_probability: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Chance that a stem is left out of a mixture; redrawn if all would be."""
    normalise: Literal["mean_abs", "rms"] = "mean_abs"
    """Level that each stem is divided by. The paper says RMS; the authors' code is mean_abs."""
    stems: tuple[str, ...] = STEMS
    """Names of the stems, in the order of the model's outputs."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if not self.stems or len(set(self.stems)) != len(self.stems):
            raise ValueError(f"stems {list(self.stems)}: name one or more, each once")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the references: the stems."""
        return self.stems

    @property
    def references(self) -> int:
        """References P: one per stem."""
        return len(self.stems)
