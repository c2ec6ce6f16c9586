"""Small pictures for the UI: SVG inside Markdown, which needs no network and no file.

Written here, not by matplotlib as the report's charts are: they are drawn twice a minute beside
running jobs, in several threads, while matplotlib takes a second to import and has one state for
all threads. Everything that is not a number passes through `_text`, which escapes it.
"""

import base64
import html
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 720, 240, 64, 30, 28
COLUMNS_HEIGHT = 130
MOST_POINTS = 240
COLOURS = ("#5b6ee1", "#d55e00", "#00926b", "#b8629a", "#808080")
"""Readable on a light page and on a dark one."""
SOFT = "#808080"

Points = Sequence[tuple[float, float]]


def curves(title: str, series: Mapping[str, Points]) -> str:
    """Return a Markdown picture of lines over one axis; empty if there is no point."""
    thin = {name: thinned(points) for name, points in series.items() if points}
    if not thin:
        return ""
    xs = [x for points in thin.values() for x, _ in points]
    ys = [y for points in thin.values() for _, y in points]
    (left, right), (low, high) = _range(xs), _range(ys)

    def position(point: tuple[float, float]) -> str:
        x = LEFT + (point[0] - left) / (right - left) * (WIDTH - LEFT - 12)
        y = HEIGHT - BOTTOM - (point[1] - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    parts = [_grid(position((left, at)), f"{at:.4g}") for at in (low, (low + high) / 2, high)]
    parts.append(_text(LEFT, HEIGHT - 8, f"{left:.6g}", SOFT))
    parts.append(_text(WIDTH - 12, HEIGHT - 8, f"{right:.6g}", SOFT, "end"))
    for number, (name, points) in enumerate(thin.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(position(point) for point in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(points) == 1:
            x, _, y = path.partition(",")
            parts.append(f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>')
        parts.append(_text(WIDTH - 12 - 130 * (len(thin) - 1 - number), 18, name, colour, "end"))
    return _image(title, parts, HEIGHT)


def bars(title: str, amounts: Mapping[str, float], unit: str) -> str:
    """Return a Markdown picture of amounts side by side; empty if there are none."""
    most = max(amounts.values(), default=0.0)
    if most <= 0:
        return ""
    parts, y = [], TOP
    for number, (name, amount) in enumerate(amounts.items()):
        colour = COLOURS[0 if number == 0 else 1]
        length = max(1.0, amount / most * (WIDTH - 360))
        parts.append(_text(190, y + 13, name, SOFT, "end"))
        parts.append(
            f'<rect x="200" y="{y}" width="{length:.1f}" height="16" rx="3" fill="{colour}"/>'
        )
        parts.append(_text(208 + length, y + 13, f"{amount:.4g} {unit}", SOFT))
        y += 24
    return _image(title, parts, y + 4)


def columns(title: str, hours: Mapping[str, float]) -> str:
    """Return a Markdown picture of hours by range, side by side; empty if there are none."""
    most = max(hours.values(), default=0.0)
    if most <= 0:
        return ""
    width = (WIDTH - LEFT - 12) / len(hours)
    base = COLUMNS_HEIGHT - BOTTOM
    names = list(hours)
    parts = [_grid(f",{TOP}", f"{most:.3g} h"), _grid(f",{base}", "0")]
    for number, amount in enumerate(hours.values()):
        height = amount / most * (base - TOP)
        parts.append(
            f'<rect x="{LEFT + number * width + 1:.1f}" y="{base - height:.1f}" '
            f'width="{width - 2:.1f}" height="{height:.1f}" fill="{COLOURS[0]}"/>'
        )
    parts.append(_text(LEFT, COLUMNS_HEIGHT - 8, names[0], SOFT))
    parts.append(_text(WIDTH - 12, COLUMNS_HEIGHT - 8, names[-1], SOFT, "end"))
    return _image(title, parts, COLUMNS_HEIGHT)


def thinned(points: Points) -> list[tuple[float, float]]:
    """Return at most `MOST_POINTS` points, each the mean of its neighbours."""
    size = -(-len(points) // MOST_POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), max(size, 1))]
    return [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _grid(at: str, label: str) -> str:
    y = at.partition(",")[2]
    line = f'<line x1="{LEFT}" x2="{WIDTH - 12}" y1="{y}" y2="{y}" stroke="{SOFT}" opacity="0.3"/>'
    return line + _text(LEFT - 8, float(y) + 4, label, SOFT, "end")


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">'
        f"{html.escape(text)}</text>"
    )


def _image(title: str, parts: Sequence[str], height: float) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" font-family="sans-serif" font-size="13">'
        f"{_text(LEFT, 18, title, SOFT)}{''.join(parts)}</svg>"
    )
    code = base64.b64encode(svg.encode()).decode()
    alt = "".join(" " if one in "[]\\\n" else one for one in title)
    return f"![{alt}](data:image/svg+xml;base64,{code})"
