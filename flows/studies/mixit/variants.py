"""What the paper's tables vary: each variant is a study that differs by a few settings."""

from typing import Literal, NamedTuple, get_args

from flows.studies.mixit.config import MixitStudyConfig, VariantConfig

Table = Literal["table1", "table2", "table3", "mixit_gain"]
"""Sizes from scratch and from MixIT; the same with the separator frozen; scales of the archive;
seeds, from scratch and from MixIT."""
TABLES: tuple[Table, ...] = get_args(Table)


class Variant(NamedTuple):
    """One value of what a table varies, and the whole study with that value."""

    name: str
    config: MixitStudyConfig


def variants_of(table: Table, config: MixitStudyConfig) -> list[Variant]:
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


def _varied(config: MixitStudyConfig, name: str, *settings: str) -> Variant:
    return Variant(name, config.override(settings))


def _seeded(seed: int) -> list[str]:
    return [f"{half}.loop.seed={seed}" for half in ("pretraining", "finetuning")]


def _or_own(variants: tuple[VariantConfig, ...]) -> tuple[VariantConfig, ...]:
    return variants or (VariantConfig(name="own"),)
