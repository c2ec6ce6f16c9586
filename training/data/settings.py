"""What every data source's settings answer, torch-free: what an example of it consists of.

A source is a package `training/data/<kind>/`: `config.py` holds its settings, `source.py` a
function `open_sources` that returns a source to train with and one to validate with; one line in
`table.py` joins the two.
"""

from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from storage.config import Config

References = Literal["mixtures", "stems"]
"""What a loss compares outputs with: two mixtures, or one signal per stem."""


class DataSettings(Config):
    """The settings that all sources share; each adds its own, and a `kind` that names it."""

    REFERENCES: ClassVar[References]
    """What the references of an example are."""

    kind: str
    """Which source this is."""
    batch_size: PositiveInt = 32
    """Examples per step over all processes."""
    segment_seconds: PositiveFloat = 6.0
    """Length of an example."""

    @property
    def inputs(self) -> int:
        """Input waveforms I of an example: 1 where the mixture alone is given."""
        return 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the references, where they have any."""
        return ()

    @property
    def references(self) -> int:
        """References P of an example."""
        raise NotImplementedError(f"{type(self).__name__} does not say how many references it has")
