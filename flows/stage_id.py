"""What one stage of a run is called: a typed value for the code, a label for people."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal, Self


class Role(Enum):
    """The part that a stage plays in any study; its time limit and its place in the UI follow."""

    OTHER = "other"
    """Fetching, checking, planning, unpacking, detecting activity."""
    PACKING = "packing"
    """Units of an archive into shards."""
    CENSUS = "census"
    """Its facts say what became of every track."""
    GATE = "gate"
    """Its facts list the faults of the data."""
    TRAINING = "training"
    """A GPU job with a loss curve."""
    SELECTION = "selection"
    """A GPU job that chooses output channels."""
    EVALUATION = "evaluation"
    """A GPU job that leaves scores."""
    REPORT = "report"
    """Its facts name a page."""


@dataclass(frozen=True)
class StageId:
    """One stage among those of a run: what is done, to what, and for which variant of a table.

    Two stages of one run never share an id. A stage's `label` is also its input name where a
    report takes it as an input, so it is part of finished work and does not change.
    """

    work: str
    """Such as `pretrain` or `evaluate`."""
    subject: str = ""
    """What it is done to, where a study does it to several: `finetune` in `evaluate finetune`."""
    variant: str = ""
    """Of a table, such as `large`; none: of the study itself."""

    @property
    def label(self) -> str:
        """The name that people see and type, such as `evaluate finetune large`."""
        return " ".join(part for part in (self.work, self.subject, self.variant) if part)

    def of(self, variant: str) -> Self:
        """Return the id of the same stage of one variant."""
        return replace(self, variant=variant)

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True)
class PackId(StageId):
    """Packing of one corpus: of all its units, a batch of them, or those packed by earlier runs."""

    units: Literal["all", "batch", "earlier"] = "all"

    @classmethod
    def whole(cls, corpus: str = "") -> "PackId":
        """Return the id of what waits for all units; `corpus` tells apart several in one run."""
        return cls("pack", variant=corpus)

    @classmethod
    def batch(cls, names: list[str], corpus: str = "") -> "PackId":
        """Return the id of the task that packs these units, given in order."""
        subject = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        return cls("pack", subject, corpus, "batch")

    @classmethod
    def earlier(cls, corpus: str = "") -> "PackId":
        """Return the id of the units that earlier runs packed, taken together."""
        return cls("packed before", variant=corpus, units="earlier")
