"""`Config`: the frozen, typed, documented base of every knob."""

import difflib
import hashlib
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any, ClassVar, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from storage.errors import ConfigError

Json = dict[str, Any]


class MeasuredIn(NamedTuple):
    """The unit of a setting whose name does not end in it: `Annotated[int, MeasuredIn("Hz")]`."""

    unit: str


UNITS = {
    "bytes": "bytes",
    "db": "dB",
    "gb": "GB",
    "hours": "hours",
    "mb": "MB",
    "minutes": "minutes",
    "seconds": "seconds",
    "songs": "songs",
    "steps": "steps",
    "tflops": "TFLOP/s",
    "tracks": "tracks",
}
"""The last word of a setting's name -> the unit that it is in, unless a `MeasuredIn` says another.
A setting with neither is a plain number, such as a count or a share."""
SECRET = "secret"
"""Kind of refusal after which the value is not repeated."""


class Config(BaseModel):
    """A value that says how to do something. Frozen; unknown keys are refused.

    Subclasses document each field under it; its unit is the last word of its name (`UNITS`), or a
    `MeasuredIn`. Fields named in `RUNTIME` say how fast or where
    something is done, never what comes out: they are left out of the digest. Fields named in
    `NEUTRAL` came after homes were filled without them: while they equal their default, which is
    what was done before, they are left out too, so that no finished work is done again.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        use_attribute_docstrings=True,
        # Heads the group of fields in the orchestrator's form.
        model_title_generator=lambda cls: cls.__name__.removesuffix("Config"),
    )

    RUNTIME: ClassVar[frozenset[str]] = frozenset()
    NEUTRAL: ClassVar[frozenset[str]] = frozenset()

    def what_matters(self) -> Json:
        """Return the fields that decide the result, as plain JSON values.

        Without those of `RUNTIME`, and those of `NEUTRAL` that equal their default.
        """
        return {
            name: _matter(getattr(self, name))
            for name, field in type(self).model_fields.items()
            if name not in self.RUNTIME
            and not (
                name in self.NEUTRAL
                and getattr(self, name) == field.get_default(call_default_factory=True)
            )
        }

    def digest(self) -> str:
        """Return the sha256 of everything that decides the result."""
        return digest_of(self.what_matters())

    @classmethod
    def parse(cls, values: Json, what: str = "configuration") -> Self:
        """Validate plain values; raise `ConfigError` that names the key, the value and the rule."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_explain(error, cls, what or cls.__name__)) from error

    def override(self, assignments: Iterable[str]) -> Self:
        """Return a copy with dotted assignments applied, such as `optim.lr=3e-4`.

        Values are JSON where they parse as JSON and plain text otherwise.

        Raises:
            ConfigError: an assignment has no `=`, names no field, or has a value the field refuses.
        """
        values = self.model_dump(mode="json")
        given = [assigned(assignment, "--set optim.lr=3e-4") for assignment in assignments]
        # Another kind has other settings, which may be assigned too: kinds come first.
        for path, value in sorted(given, key=lambda one: not one[0].endswith(".kind")):
            if path.endswith(".kind"):
                self._turn_into(values, path.removesuffix(".kind"), value)
            _assign(values, path, value)
        return type(self).parse(values, "setting")

    def _turn_into(self, values: Json, path: str, kind: Any) -> None:
        """Put another kind's defaults where a setting of several kinds is.

        What all kinds have in common, a model's outputs for one, stays as it is.
        """
        owner: Any = self
        node: Any = values
        *parents, last = path.split(".")
        for name in parents:
            owner, node = getattr(owner, name, None), node.get(name)
            if not isinstance(owner, Config) or not isinstance(node, dict):
                return
        own = getattr(owner, last, None)
        field = type(owner).model_fields.get(last)
        if field is None or field.discriminator is None or kind == getattr(own, "kind", None):
            return
        common = getattr(type(own).__mro__[1], "model_fields", {})
        wanted = {**{name: node[last][name] for name in common}, "kind": kind}
        kinds: Any = Annotated[field.annotation, Field(discriminator=field.discriminator)]
        with suppress(ValidationError):
            wanted = TypeAdapter(kinds).validate_python(wanted).model_dump(mode="json")
        node[last] = wanted


def assigned(assignment: str, example: str) -> tuple[str, Any]:
    """Return what `a.b=c` names and sets: JSON where it parses as JSON, and plain text otherwise.

    Raises:
        ConfigError: there is no `=`; shows the option by its example.
    """
    path, separator, text = assignment.partition("=")
    if not separator:
        option = example.split(maxsplit=1)[0]
        raise ConfigError(f"'{option} {assignment}' has no '='; write it as '{example}'")
    return path.strip(), _value(text)


def digest_of(values: Any) -> str:
    """Return the sha256 of a JSON value in canonical form (sorted keys, no spaces)."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Change(NamedTuple):
    """One setting whose value differs between two configurations."""

    path: str
    """Such as `optim.lr`."""
    old: Any
    new: Any

    @property
    def old_text(self) -> str:
        """The old value as JSON."""
        return json.dumps(self.old)

    @property
    def new_text(self) -> str:
        """The new value as JSON."""
        return json.dumps(self.new)

    def __str__(self) -> str:
        return f"{self.path}: {self.old_text} -> {self.new_text}"


def changes(old: Json, new: Json, prefix: str = "") -> list[Change]:
    """Return where two nested values differ, in the order of the paths."""
    found: list[Change] = []
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += changes(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(Change(f"{prefix}{key}", before, after))
    return found


def differences(old: Json, new: Json) -> list[str]:
    """List where two nested values differ, as `path: old -> new`."""
    return [str(change) for change in changes(old, new)]


def _matter(value: Any) -> Any:
    if isinstance(value, Config):
        return value.what_matters()
    if isinstance(value, tuple | list):
        return [_matter(item) for item in value]
    if isinstance(value, dict):
        return {key: _matter(item) for key, item in value.items()}
    return value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text.strip()


def _assign(values: Json, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    node: Any = values
    for depth, name in enumerate([*parents, last]):
        if not isinstance(node, dict) or name not in node:
            known = sorted(node) if isinstance(node, dict) else []
            where = ".".join(path.split(".")[:depth]) or "the recipe"
            hint = _suggest(name, known, where)
            elsewhere = _paths_of(name, values)
            near = [other for other in elsewhere if _shares_beginning(other, path)]
            if near or len(elsewhere) == 1:
                hint = f"{where} has no '{name}'; did you mean '{(near or elsewhere)[0]}'?"
            raise ConfigError(f"unknown setting '{path}': {hint}")
        if depth < len(parents):
            node = node[name]
    node[last] = value


def _paths_of(name: str, values: Json, prefix: str = "") -> list[str]:
    """Return where in nested values a name stands, as dotted paths."""
    found = [f"{prefix}{name}"] if name in values else []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _paths_of(name, value, f"{prefix}{key}.")
    return found


def _shares_beginning(path: str, other: str) -> bool:
    return path.partition(".")[0] == other.partition(".")[0]


def _suggest(name: str, known: list[str], where: str) -> str:
    if not known:
        return f"{where} is a single value and has no '{name}'"
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"it has {', '.join(known)}"
    return f"{where} has no '{name}'; {hint}"


def configs_in(annotation: Any) -> list[type[Config]]:
    """Return the kinds of settings that a field of this type may hold, such as those of a union."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    return [found for part in get_args(annotation) for found in configs_in(part)]


def _explain(error: ValidationError, settings: type[Config], what: str) -> str:
    """Say every refusal in words: which setting, which value, which rule."""
    parts = []
    for problem in error.errors():
        names, owner = _place_of(problem["loc"], settings)
        path = ".".join(names)
        named = f"{what} '{path}'" if path else what
        rule = problem["msg"].removeprefix("Value error, ")
        kind = ".".join(filter(None, (path, "kind")))
        if problem["type"] == "union_tag_invalid":
            tag, known = problem["ctx"]["tag"], problem["ctx"]["expected_tags"]
            parts.append(f"{what} '{kind}' = '{tag}': there are {known.replace(chr(39), '')}")
        elif problem["type"] == "union_tag_not_found":
            parts.append(f"{what} '{kind}' is missing: it says which settings these are; add it")
        elif problem["type"] == "extra_forbidden":
            where = ".".join(names[:-1]) or f"the {what}"
            hint = _suggest(names[-1], sorted(owner.model_fields), where)
            parts.append(f"unknown {named}: {hint}")
        elif problem["type"] == "missing":
            parts.append(f"{named} is missing; add it")
        elif problem["type"] == SECRET or isinstance(problem["input"], dict):
            # Settings that contradict each other are named by the rule, which knows which they are.
            parts.append(f"{named}: {rule}")
        else:
            parts.append(f"{named} = {problem['input']!r}: {rule}")
    return "; ".join(parts)


def _place_of(
    location: Iterable[int | str], settings: type[Config]
) -> tuple[list[str], type[Config]]:
    """Return a refusal's path as `--set` spells it, without kinds, and whose its last name is."""
    names: list[str] = []
    owner, inner, rest = settings, settings, list(location)
    while rest:
        name, owner = rest.pop(0), inner
        names.append(str(name))
        if isinstance(name, int):
            continue
        field = owner.model_fields.get(name)
        within = configs_in(field.annotation) if field else []
        if field and field.discriminator and rest:
            kind = rest.pop(0)
            within = [one for one in within if one.model_fields["kind"].default == kind]
        inner = within[0] if len(within) == 1 else Config
    return names, owner
