"""The separators that the study compares, and what the stages about them are called."""

from dataclasses import dataclass
from typing import Literal

from flows.stage_id import StageId

PRETRAIN_ID = StageId("pretrain")
SELECT_ID = StageId("select channels")


@dataclass(frozen=True)
class Separator:
    """One separator: its training, its evaluation, and what people call it."""

    training: StageId
    evaluation: StageId
    title: str
    """In the report."""
    start: Literal["from scratch", "MixIT"]
    """In the tables: what its training starts from."""
    before: tuple[StageId, ...] = ()
    """Jobs that its training needs."""

    def jobs(self, variant: str = "") -> tuple[StageId, ...]:
        """Return all jobs that this separator takes; the last one scores it."""
        return tuple(job.of(variant) for job in (*self.before, self.training, self.evaluation))


FINETUNED = Separator(
    StageId("finetune"),
    StageId("evaluate", "finetune"),
    "MixIT pre-training, then fine-tuning",
    "MixIT",
    (PRETRAIN_ID, SELECT_ID),
)
FROM_SCRATCH = Separator(
    StageId("train from scratch"),
    StageId("evaluate", "train from scratch"),
    "from scratch",
    "from scratch",
)
SEPARATORS = (FINETUNED, FROM_SCRATCH)
"""The one that the study is about, and then what it is compared with."""
