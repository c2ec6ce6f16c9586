"""Every model, once: its settings, and where its class is. To add a model, add a line.

The class is imported when a model is built, so that reading a configuration needs no torch.
"""

from typing import TYPE_CHECKING

from storage.unions import union_of
from training.models.bs_locoformer.config import BsLocoformerConfig
from training.models.bs_roformer.config import BsRoformerConfig
from training.models.conv_tasnet.config import ConvTasNetConfig
from training.models.hdemucs.config import HdemucsConfig
from training.models.settings import ModelSettings

MODELS: dict[type[ModelSettings], str] = {
    BsLocoformerConfig: "training.models.bs_locoformer.model:BsLocoformer",
    BsRoformerConfig: "training.models.bs_roformer.model:BsRoformer",
    ConvTasNetConfig: "training.models.conv_tasnet.model:ConvTasNet",
    HdemucsConfig: "training.models.hdemucs.model:Hdemucs",
}
"""Settings -> `module:class`."""

FOREIGN = {
    "published": "training.models.bs_locoformer.published:read_checkpoint",
    "community": "training.models.bs_roformer.community:read_checkpoint",
}
"""Forms of others' checkpoints that can be imported -> `module:function`."""

if TYPE_CHECKING:
    ModelConfig = ModelSettings
else:
    ModelConfig = union_of(MODELS)
    """Any model's settings, distinguished by their `kind`."""
