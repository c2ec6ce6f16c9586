"""A study as one frozen value: what the command line overrides and the Prefect UI shows.

What all studies share is here; what one study adds is in its own `config.py`.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pipelines.config import FmaConfig, MusdbConfig
from pipelines.licences import allows, licence_of
from pipelines.synthesis.config import SynthesisConfig
from storage.config import SECRET, Config, assigned
from storage.records import STEMS

Part = TypeVar("Part", bound=Config)
NAME = r"^[a-z0-9][a-z0-9_.-]*$"
"""Of a study, and of what varies in it: it names files of a home, and labels of stages."""


def _bare(address: str) -> str:
    """Refuse a secret in an address: settings are shown in forms, and kept in homes."""
    parts = urlsplit(address)
    if "@" in parts.netloc or parts.query:
        raise PydanticCustomError(
            SECRET,
            "it holds a user, a password or a query, and settings are no place for secrets; give "
            "the bare address of a server that asks for none, or put the archives in data.root",
        )
    return address


class SourceConfig(Config):
    """Where the archives are."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"root", "access", "mirror"})

    root: str = "archives"
    """Folder that holds the archives. Left unread when the study synthesises its own."""
    access: Literal["local", "download", "range"] = "local"
    """`local`: the archives lie in `root`. `download`: those that do not are fetched to it whole
    first. `range`: as `download`, but the FMA's tracks are read in place, by HTTP ranges."""
    mirror: Annotated[str, AfterValidator(_bare)] = ""
    """Address of a folder that serves the archives under their names; none: their publishers."""


class LimitsConfig(Config):
    """How long a stage may take, how many jobs run at once, how often a run resumes automatically.

    Limits never change the result. A stage that exceeds its limit ends as `TimedOut`; what it did
    until then is kept.
    """

    training_hours: PositiveFloat = 24 * 14
    """Of one training job: pre-training, fine-tuning, training from scratch."""
    selection_hours: PositiveFloat = 24
    """Of choosing the output channels."""
    evaluation_hours: PositiveFloat = 48
    """Of one evaluation."""
    packing_hours: PositiveFloat = 48
    """Of one task that packs a batch of units."""
    other_hours: PositiveFloat = 24 * 7
    """Of any other stage: fetching, checking, planning, unpacking, detecting activity, a report."""
    resumes: NonNegativeInt = 2
    """How many times a deployed run restarts automatically after its process died."""
    stall_minutes: PositiveFloat = 60
    """A stage without progress or messages for so long is reported; it is not stopped."""
    short_of_disk: Literal["refuse", "begin"] = "refuse"
    """Where packing will write more than is free: `refuse` to begin, or `begin` and stop before the
    disk is full (`fma.disk_reserve_gb`)."""
    gpu_jobs: PositiveInt = 1
    """Jobs of this study at a time. All studies together keep to the server's limit `gpu`."""


class GatesConfig(Config):
    """Conditions on data and people before GPU time is spent. They never change the result."""

    minimum_hours: NonNegativeFloat = 0.0
    """Of music kept from the archive."""
    maximum_failures: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of tracks that are quarantined."""
    maximum_silence: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of decoded hours that no clip holds: silence, and what is left over at tracks' ends."""
    action: Literal["block", "warn"] = "block"
    """Where the data is worse: `block` pre-training, or `warn` and begin it."""
    approval_gpu_hours: NonNegativeFloat | None = None
    """Pause for a person's approval before spending more than so much; none: never ask."""
    approval_wait_hours: PositiveFloat = 72
    """How long to wait for an answer; after that the run fails, and can be run again."""

    @property
    def judge(self) -> bool:
        """Say whether any data could be refused."""
        strictest = (self.minimum_hours, 1 - self.maximum_failures, 1 - self.maximum_silence)
        return any(value > 0 for value in strictest)


class StudyConfig(Config):
    """What every study has: its name, its data, what it is allowed. Each study adds its own."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"limits", "gates"})
    NEUTRAL: ClassVar[frozenset[str]] = frozenset({"stems", "licences"})
    STEMS_OF: ClassVar[tuple[str, ...]] = ()
    """Settings of a study's parts that hold its stems, as dotted paths."""
    OUTPUTS_OF: ClassVar[tuple[str, ...]] = ()
    """Settings that hold their number."""
    PATHS: ClassVar[tuple[str, ...]] = ("data.root",)
    """Settings that are paths: runs that are started elsewhere are given them in full."""

    name: Annotated[str, Field(pattern=NAME)]
    """What this study is called in its home. One home holds one configuration under a name."""
    data: SourceConfig = SourceConfig()
    """Where the archives are."""
    synthesis: SynthesisConfig | None = None
    """Make the archives on the spot instead of reading `data.root`."""
    stems: Annotated[tuple[str, ...], Field(min_length=1)] = STEMS
    """What songs are separated into. `--set stems=[...]` sets it in every part of the study."""
    licences: tuple[str, ...] = ()
    """Licences that all music has to be under, as shell patterns such as `*Attribution*`; none
    given allows all. `--set licences=[...]` sets `fma.filters.licences`, too; songs with stems
    under another licence are refused."""
    limits: LimitsConfig = LimitsConfig()
    """How long stages may take, how many jobs run at once, how often a run resumes."""
    gates: GatesConfig = GatesConfig()
    """What has to be true of the data, and who has to agree, before GPU time is spent."""

    @model_validator(mode="after")
    def _same_stems(self) -> Self:
        wrong = {
            path: list(held)
            for path in self.STEMS_OF
            if (held := self.held(path)) is not None and tuple(held) != self.stems
        }
        if wrong:
            others = " and ".join(f"{path} = {json.dumps(held)}" for path, held in wrong.items())
            ours = json.dumps(list(self.stems))
            raise ValueError(
                f"stems = {ours}, but {others}; a study separates one list of stems: give "
                f"'--set stems={ours}' alone, which sets them all"
            )
        return self

    @model_validator(mode="after")
    def _held_to_licences(self) -> Self:
        if self.licences and (found := list(self._licence_faults())):
            raise ValueError("; ".join(found))
        return self

    def _licence_faults(self) -> Iterator[str]:
        """Yield, in words, which music could be under a licence that is not allowed."""
        allowed = json.dumps(list(self.licences))
        for name, fma in self.parts_of(FmaConfig).items():
            if fma.filters.licences != self.licences:
                theirs = json.dumps(list(fma.filters.licences))
                yield (
                    f"licences = {allowed}, but {name}.filters.licences = {theirs}; give '--set "
                    f"licences={allowed}' alone, which sets both"
                )
        for name, songs in self.parts_of(MusdbConfig).items():
            held = licence_of(songs.source, songs.licence)
            which = f"licences = {allowed}, but the songs of {name}.archive = {songs.archive}"
            if not held and not self.synthesis:
                yield f"{which} state no licence; state it with '--set {name}.licence=...'"
            elif not allows(self.licences, held) and not self.synthesis:
                yield f"{which} are under '{held}'; allow that, too, or use other songs"

    def override(self, assignments: Iterable[str]) -> Self:
        """Return a copy with dotted assignments applied, such as `pretraining.optim.lr=3e-4`.

        `stems=[...]` also sets the stems of every part and the outputs of the models that separate
        them, and `licences=[...]` the filters of tracks, except those assigned beside it.

        Raises:
            ConfigError: an assignment has no `=`, names no field, or has a value the field refuses.
        """
        given = list(assignments)
        named = [assigned(one, '--set stems=["vocals","rest"]') for one in given]
        follow = {path: held for name, value in named for path, held in self._follow(name, value)}
        given += [
            f"{path}={json.dumps(value)}"
            for path, value in follow.items()
            if self.held(path) is not None
            and not any(path == other or path.startswith(f"{other}.") for other, _ in named)
        ]
        return super().override(given)

    def _follow(self, name: str, value: Any) -> Iterator[tuple[str, Any]]:
        """Yield the paths of the settings that one setting sets, too, and their values."""
        if name == "stems":
            yield from ((path, value) for path in self.STEMS_OF)
            if isinstance(value, list):
                yield from ((path, len(value)) for path in self.OUTPUTS_OF)
        if name == "licences":
            yield from ((f"{part}.filters.licences", value) for part in self.parts_of(FmaConfig))

    def held(self, path: str) -> Any:
        """Return the setting at a dotted path; None where this configuration has none."""
        held: Any = self
        for name in path.split("."):
            held = getattr(held, name, None)
        return held

    def parts_of(self, kind: type[Part]) -> dict[str, Part]:
        """Return the settings that are of one kind, such as every training job's, by name."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, kind)}
