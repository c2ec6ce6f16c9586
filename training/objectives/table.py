"""Every objective, once: its settings, and where its class is. To add one, add a line."""

from typing import TYPE_CHECKING

from storage.unions import union_of
from training.objectives.l1.config import L1Objective
from training.objectives.mixit.config import MixitObjective
from training.objectives.settings import ObjectiveSettings
from training.objectives.supervised.config import SupervisedObjective

OBJECTIVES: dict[type[ObjectiveSettings], str] = {
    MixitObjective: "training.objectives.mixit.objective:Mixit",
    SupervisedObjective: "training.objectives.supervised.objective:Supervised",
    L1Objective: "training.objectives.l1.objective:L1",
}
"""Settings -> `module:class`."""

if TYPE_CHECKING:
    ObjectiveConfig = ObjectiveSettings
else:
    ObjectiveConfig = union_of(OBJECTIVES)
    """Any objective's settings, distinguished by their `kind`."""
