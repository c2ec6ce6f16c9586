"""Every model, once: its settings, and where its class is. To add a model, add a line.

The class is imported when a model is built, so that whoever reads a configuration needs no torch.
"""

from typing import TYPE_CHECKING

from storage.unions import union_of
from training.models.bs_locoformer.config import BsLocoformerConfig
from training.models.settings import ModelSettings

MODELS: dict[type[ModelSettings], str] = {
    BsLocoformerConfig: "training.models.bs_locoformer.model:BsLocoformer",
}
"""Settings -> `module:class`."""

if TYPE_CHECKING:
    ModelConfig = ModelSettings
else:
    ModelConfig = union_of(MODELS)
    """Any model's settings, told apart by their `kind`."""
