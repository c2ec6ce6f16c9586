"""What the paper's tables vary: each variant is a study that differs by a few settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from flows.config import StudyConfig, VariantConfig
from flows.stages.stage import Stage
from flows.studies.runner import Product, Runner
from pipelines.config import FmaConfig
from storage.config import Config, Json

Table = Literal["table1", "table2", "table3", "mixit_gain"]
"""Sizes from scratch and from MixIT; the same with the separator frozen; scales of the archive;
seeds, from scratch and from MixIT."""
TABLES = get_args(Table)


class Variant(NamedTuple):
    """One value of what a table varies, and the whole study that it stands for."""

    name: str
    config: StudyConfig


def variants_of(table: Table, config: StudyConfig) -> list[Variant]:
    """Return a table's variants; each trains from MixIT and, if its config says so, from scratch.

    Raises:
        ConfigError: a variant's setting is unknown, or its value is refused.
    """
    tables, scratch = config.tables, "from_scratch=true"
    if table == "mixit_gain":
        return [_varied(config, f"seed-{seed}", scratch, *_seeded(seed)) for seed in tables.seeds]
    if table == "table3":
        # Training from scratch sees no archive: once is enough.
        return [
            _varied(config, one.name, *one.settings, f"from_scratch={str(not number).lower()}")
            for number, one in enumerate(_or_own(tables.scales))
        ]
    frozen = (f"finetuning.loop.steps={tables.frozen_steps}", "finetuning.freeze_separator=true")
    return [
        _varied(config, one.name, *one.settings, scratch, *(frozen if table == "table2" else ()))
        for one in _or_own(tables.sizes)
    ]


@dataclass(frozen=True)
class Branch:
    """A line for the stages that are one variant's own: their labels bear its name."""

    line: Runner
    name: str

    def do(
        self, label: str, stage: Stage, config: Config, settings: Json, **inputs: Product
    ) -> Product:
        """Hand one stage on."""
        return self.line.do(self.label(label), stage, config, settings, **inputs)

    def pack(self, config: FmaConfig, archive: str, plan: Product) -> Mapping[str, Product]:
        """Hand on the packing of all of a plan's units."""
        return self.line.pack(config, archive, plan)

    def label(self, label: str) -> str:
        """Return what a stage is called on the line itself."""
        return f"{label} {self.name}"


def _varied(config: StudyConfig, name: str, *settings: str) -> Variant:
    return Variant(name, config.override(settings))


def _seeded(seed: int) -> list[str]:
    return [f"{half}.loop.seed={seed}" for half in ("pretraining", "finetuning")]


def _or_own(variants: tuple[VariantConfig, ...]) -> tuple[VariantConfig, ...]:
    return variants or (VariantConfig(name="own"),)
