"""The pages' templates: every value is escaped where it is inserted, and none may be missing."""

import base64
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from training.report import formats


class Column(NamedTuple):
    """A table's column: its title, and whether it holds numbers."""

    title: str
    numeric: bool = False


class Section(NamedTuple):
    """One part of a page."""

    anchor: str
    title: str
    body: Markup


def render(template: str, **values: object) -> Markup:
    """Return a template filled with values; those that are not Markup are escaped."""
    return Markup(_environment().get_template(template).render(**values))


def missing(reason: str) -> Markup:
    """Return what stands in place of a part that is not there yet."""
    return render("missing.html", reason=reason)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("training.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # The package does not change while it runs.
        auto_reload=False,
    )
    environment.filters |= {
        "count": formats.count,
        "data_uri": _data_uri,
        "decibels": formats.decibels,
        "duration": formats.duration,
        "grouped": formats.grouped,
        "narrow_span": formats.narrow_span,
        "setting": _setting,
        "signed": formats.signed,
    }
    environment.tests["group"] = _is_group
    return environment


def _data_uri(data: bytes, kind: str) -> str:
    """Return bytes as an address that needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _is_group(value: object) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _setting(value: object) -> str:
    """Return a setting's value in words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_setting(item) for item in value) or "none"
    return str(value) if value not in ("", {}) else "none"
