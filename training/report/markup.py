"""The few HTML shapes that the sections of the page are made of. All text is escaped here."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple


class Column(NamedTuple):
    """A table's column: its title, and whether it holds numbers."""

    title: str
    numeric: bool = False


def escape(text: object) -> str:
    """Return text that may stand in an element or an attribute."""
    return html.escape(str(text), quote=True)


def section(anchor: str, title: str, body: str) -> str:
    """Return one section of the page."""
    return (
        f'<section id="{escape(anchor)}" aria-labelledby="{escape(anchor)}-title">\n'
        f'<h2 id="{escape(anchor)}-title">{escape(title)}</h2>\n{body}\n</section>\n'
    )


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text."""
    return f"<p{_class(kind)}>{escape(text)}</p>\n"


def missing(text: str) -> str:
    """Return the place holder of a part that is not there yet."""
    return paragraph(text, "missing")


def details(summary: str, body: str, is_open: bool = False) -> str:
    """Return a part that folds away; `summary` is plain text."""
    opened = " open" if is_open else ""
    return f"<details{opened}><summary>{escape(summary)}</summary>\n{body}\n</details>\n"


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]], kind: str = "") -> str:
    """Return a table of plain text that scrolls sideways on a narrow screen."""
    head = "".join(
        f'<th scope="col"{_class("n" if column.numeric else "")}>{escape(column.title)}</th>'
        for column in columns
    )
    body = "\n".join(_row(columns, row) for row in rows)
    return (
        f'<div class="wide"><table{_class(kind)}>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>\n"
    )


def swatch(stem: str) -> str:
    """Return a small mark in the stem's colour."""
    return f'<span class="swatch" style="background:{stem_colour(stem)}"></span>'


def stem_colour(stem: str) -> str:
    """Return the CSS colour of a stem; stems without one of their own share the neutral one."""
    return f"var(--{stem})" if stem in {"vocals", "bass", "drums", "other"} else "var(--soft)"


def data_uri(data: bytes, kind: str) -> str:
    """Return bytes as an address that needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def tree(value: Mapping[str, Any]) -> str:
    """Return nested settings as nested lists: plain values first, groups after them."""
    groups = {name: inner for name, inner in value.items() if isinstance(inner, Mapping) and inner}
    leaves = {name: inner for name, inner in value.items() if name not in groups}
    parts = [
        f"<div><dt>{escape(name)}</dt><dd>{escape(_plain(inner))}</dd></div>"
        for name, inner in leaves.items()
    ]
    listed = f'<dl class="leaves">{"".join(parts)}</dl>\n' if parts else ""
    nested = "".join(
        f'<div class="group"><h4>{escape(name)}</h4>\n{tree(inner)}</div>\n'
        for name, inner in groups.items()
    )
    return listed + nested


def duration(seconds: float) -> str:
    """Return a length of time as people say it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def count(number: int, noun: str) -> str:
    """Return a number of things with its noun, `1 song` or `50 songs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _row(columns: Sequence[Column], row: Sequence[object]) -> str:
    cells = [
        f"<td{_class('n' if column.numeric else '')}>{escape(cell)}</td>"
        for column, cell in zip(columns, row, strict=True)
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value) or "none"
    return str(value) if value not in ("", {}) else "none"


def _class(kind: str) -> str:
    return f' class="{escape(kind)}"' if kind else ""
