"""What every objective's settings answer, torch-free: do model, data and objective fit together?

An objective is a package `training/objectives/<kind>/`: `config.py` holds its settings, and
`objective.py` its class (an `Objective`); one line in `table.py` joins the two.
"""

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import PositiveInt

from storage.config import Config, MeasuredIn
from training.data.settings import DataSettings, References
from training.models.settings import ModelSettings


class ObjectiveSettings(Config):
    """The settings that all objectives share; each adds its own, and a `kind` that names it."""

    NEUTRAL: ClassVar[frozenset[str]] = frozenset({"level_n_fft", "level_hop"})
    REFERENCES: ClassVar[References]
    """What an example's references have to be."""

    kind: str
    """Which objective this is."""
    level_n_fft: Annotated[PositiveInt, MeasuredIn("samples")] = 2048
    """Length of the window and transform of the STFT by which the input's level is measured: losses
    are computed of signals at that level."""
    level_hop: Annotated[PositiveInt, MeasuredIn("samples")] = 512
    """Hop of that STFT."""

    def misfits(self, model: ModelSettings, data: DataSettings) -> Iterator[str]:
        """Yield, in words, why this objective cannot train this model on these data."""
        if data.REFERENCES != self.REFERENCES:
            yield (
                f"objective.kind = '{self.kind}' needs {self.REFERENCES} as references, but "
                f"data.kind = '{data.kind}' gives {data.REFERENCES}; set one to suit the other"
            )
        if data.inputs != model.INPUTS:
            yield (
                f"model.kind = '{model.kind}' takes {model.INPUTS} input(s), but data.kind = "
                f"'{data.kind}' gives {data.inputs}; choose data that give what the model takes"
            )


class StemObjectiveSettings(ObjectiveSettings):
    """An objective that compares each output with the stem of the same place in the list."""

    REFERENCES: ClassVar[References] = "stems"

    def misfits(self, model: ModelSettings, data: DataSettings) -> Iterator[str]:
        """Yield why this objective cannot train this model on these data."""
        yield from super().misfits(model, data)
        if data.REFERENCES == "stems" and model.outputs != data.references:
            yield (
                f"objective.kind = '{self.kind}' trains one output per stem, but model.outputs = "
                f"{model.outputs} and data.stems names {data.references}; set model.outputs="
                f"{data.references}"
            )
