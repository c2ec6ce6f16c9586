"""Which settings made a trained model: found by the marks that led to it."""

from flows.stages.lineage import LineageGraph
from flows.studies.mixit.config import MixitStudyConfig
from storage.config import Json
from storage.home.marks import Mark

_PRETRAINED = ("pretraining", "fma", "synthesis", "licences")
_SCRATCH = ("finetuning", "musdb", "synthesis", "licences")
_TUNED = (*_SCRATCH, "pretraining", "fma")
"""Settings that decide each kind of model: its own training's first."""


def settings_of(config: MixitStudyConfig, mark: Mark, lineage: LineageGraph) -> Json:
    """Return the settings that made a model; nothing if it was not made by this configuration."""
    parts = _PRETRAINED if "index" in mark.inputs else _TUNED
    foundation = mark if parts is _PRETRAINED else lineage.parents(mark).get("model")
    census = lineage.parents(foundation).get("index") if foundation else None
    made = {
        parts[0]: mark.config,
        **({"pretraining": foundation.config} if foundation else {}),
        **({"fma": census.config} if census else {}),
    }
    matters = config.what_matters()
    if any(matters[part] != settings for part, settings in made.items()):
        return {}
    from_scratch = "model" not in mark.inputs and parts is _TUNED
    wanted = _SCRATCH if from_scratch else parts
    return {part: matters[part] for part in wanted if part in matters}
