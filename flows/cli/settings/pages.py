"""The reference of settings and of environment variables, as Markdown for the documentation."""

from collections.abc import Iterator

from flows.cli.settings.reference import Group, Setting, groups_of, shown
from storage.environment import VARIABLES


def settings_markdown() -> str:
    """Return every setting of every study: a section for each group of them, and its table."""
    return "\n".join(line for group in groups_of() for line in _section(group))


def variables_markdown() -> str:
    """Return every environment variable as one table."""
    rows = [
        _row(
            f"`{one.name}`",
            f"`{one.default}`" if one.default else one.otherwise,
            one.readers,
            one.meaning,
        )
        for one in VARIABLES
    ]
    return "\n".join([*_head("variable", "default", "read by", "meaning"), *rows, ""])


def _section(group: Group) -> Iterator[str]:
    of = f" of kind `{group.kind}`" if group.kind else ""
    places = ", ".join(f"`{place}`" for place in group.places if place)
    yield f"## {places or 'The study'}{of}"
    yield ""
    yield group.text
    yield ""
    if group.settings:
        yield from _head("setting", "type", "unit", "default", "meaning")
        yield from (_of(one) for one in group.settings)
        yield ""


def _of(setting: Setting) -> str:
    default = f"`{shown(setting.value)}`" if setting.default else "required"
    return _row(f"`{setting.name}`", setting.type, setting.unit, default, setting.text)


def _head(*cells: str) -> list[str]:
    return [_row(*cells), _row(*["---"] * len(cells))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
