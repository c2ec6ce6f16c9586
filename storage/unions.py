"""Settings of several kinds under one name, and the code of each kind.

A table maps the settings' class of each kind to `module:name`, as packages' entry points are
written. What a table names is imported when it is used: settings are read without it.
"""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Annotated, Any, Union

from pydantic import Field

from storage.config import Config


def union_of(kinds: Iterable[type[Config]]) -> Any:
    """Return the type of a field that holds settings of any of these kinds, by their `kind`.

    With one kind it is that kind. A value of an unknown kind is refused, with the list of them.
    """
    members = tuple(kinds)
    if len(members) == 1:
        return members[0]
    # What the alternatives are is known only here; type checkers see the common base class.
    return Annotated[Union[members], Field(discriminator="kind")]  # noqa: UP007


def implementation_of(table: Mapping[type[Any], str], settings: Config) -> Any:
    """Import and return what a table names for these settings."""
    return imported(table[type(settings)])


def imported(entry: str) -> Any:
    """Import and return what `module:name` names."""
    module, _, name = entry.partition(":")
    return getattr(import_module(module), name)
