"""Which values a setting takes, in words: from the JSON schema of its class."""

from functools import cache
from typing import Any

from storage.config import Config, Json

NOTHING = "none"
PLAIN = {"boolean": "true or false", "string": "text", "null": NOTHING}


def words_of(owner: type[Config], name: str) -> str:
    """Return which values a field takes, such as `whole number, 1 or more`."""
    return _words(_schema(owner)["properties"][name])


@cache
def _schema(owner: type[Config]) -> Json:
    return owner.model_json_schema()


def _words(schema: Json) -> str:
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "const" in schema:
        return f"only {schema['const']}"
    if "anyOf" in schema:
        # What may be none is no number: that comes first, before a number's limits.
        parts = sorted(schema["anyOf"], key=lambda one: one.get("type") != "null")
        return " or ".join(_words(one) for one in parts)
    of_type = {"integer": _number, "number": _number, "array": _list, "object": _mapping}
    kind = schema.get("type", "")
    # What is left are references to other classes.
    return of_type[kind](schema) if kind in of_type else PLAIN.get(kind, "settings")


def _mapping(schema: Json) -> str:
    values = [schema.get("additionalProperties"), *schema.get("patternProperties", {}).values()]
    return f"texts, each with its {_words(next(filter(None, values)))}"


def _list(schema: Json) -> str:
    if "prefixItems" in schema:
        return ", then ".join(_words(one) for one in schema["prefixItems"])
    least = ", at least one" if schema.get("minItems") else ""
    each = _words(schema["items"])
    return (f"list of {each}s" if each == "text" else f"list, each {each}") + least


def _number(schema: Json) -> str:
    what = "whole number" if schema["type"] == "integer" else "number"
    least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    most, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if above is not None and schema["type"] == "integer":
        least, above = above + 1, None
    if least is not None and most is not None:
        return f"{what} from {least:g} to {most:g}"
    limits: list[Any] = [
        f"{least:g} or more" if least is not None else "",
        f"above {above:g}" if above is not None else "",
        f"{most:g} or less" if most is not None else "",
        f"below {below:g}" if below is not None else "",
    ]
    words = [*filter(None, limits)]
    if step := schema.get("multipleOf"):
        words.append(f"a multiple of {step:g}")
    return ", ".join([what, *words])
