"""Charts as inline SVG. Their colours are the page's own variables, so they follow its scheme.

matplotlib draws them, as it knows axes and ticks; what is ours is the few substitutions that take
its colours, typeface and width out of the SVG, so that the page's style sheet sets them without
any script.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.report.material import Losses
from training.report.stems import EXTRA_COLOURS, Stem

# matplotlib knows no CSS: it draws in colours that nothing else uses, which then become variables.
INKS = {
    "#0a0b01": "var(--ink)",
    "#0a0b02": "var(--soft)",
    "#0a0b03": "var(--rule)",
    "#0a0b04": "var(--accent)",
    "#0a0b05": "var(--vocals)",
    "#0a0b06": "var(--bass)",
    "#0a0b07": "var(--drums)",
    "#0a0b08": "var(--other)",
    "#0a0b09": "var(--card)",
}
INK, SOFT, RULE, ACCENT, VOCALS, BASS, DRUMS, OTHER, CARD = INKS
INKS |= {f"#0a0b{number:02x}": colour for number, colour in enumerate(EXTRA_COLOURS, 16)}
INK_OF = {colour: ink for ink, colour in INKS.items()}

WIDTH = 6.0
"""Inches of 72 units: at this width one unit is about a pixel of the page."""

MOST_POINTS = 1200
"""Points of one line; more would add bytes and nothing visible."""


class Lane(NamedTuple):
    """One model's songs in a strip: dB by song."""

    label: str
    songs: Mapping[str, float]
    is_model: bool = True
    """The trivial estimate is not a model, and is drawn in grey."""


class Span(NamedTuple):
    """One difference in dB and its confidence interval, where there is one."""

    label: str
    value: float | None
    ends: tuple[float, float] | None
    paper: tuple[float, float] | None
    """What it is compared with: one number twice, or a range."""


def spans(known: Sequence[Span]) -> Markup:
    """Return differences as dots on their intervals, one a line, beside what is published."""
    with _figure(0.6 + 0.34 * len(known), salt="spans") as (figure, axes):
        axes.axvline(0, color=SOFT, linewidth=1.2, zorder=1)
        for height, span in enumerate(known):
            if span.paper and span.paper[1] > span.paper[0]:
                axes.plot(span.paper, [height, height], color=ACCENT, alpha=0.2, linewidth=13)
            elif span.paper:
                axes.scatter(
                    span.paper[:1], [height], s=90, marker="D", facecolors="none", edgecolors=ACCENT
                )
            if span.ends:
                axes.plot(span.ends, [height, height], color=INK, linewidth=2, zorder=2)
            if span.value is not None:
                axes.scatter([span.value], [height], s=46, color=ACCENT, zorder=3)
        axes.set_ylim(len(known) - 0.4, -0.6)
        axes.set_yticks(range(len(known)), [span.label for span in known])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(axis="x", color=RULE, linewidth=0.8)
        axes.set_xlabel("uSDR from MixIT less uSDR from scratch (dB)")
        return _svg(figure, "What pre-training is worth, and its confidence interval")


def strip(stem: Stem, lanes: Sequence[Lane], limits: tuple[float, float]) -> Markup:
    """Return one stem's songs as dots, a lane per model, the mean as a bar."""
    with _figure(0.55 + 0.42 * len(lanes), salt=f"strip {stem.name}") as (figure, axes):
        ink = INK_OF[stem.colour]
        for height, (upper, lower) in enumerate(pairwise(lane for lane in lanes if lane.is_model)):
            for song in sorted(upper.songs.keys() & lower.songs.keys()):
                ends = [upper.songs[song], lower.songs[song]]
                axes.plot(ends, [height, height + 1], color=RULE, linewidth=1.2, zorder=1)
        for height, lane in enumerate(lanes):
            values = [lane.songs[song] for song in sorted(lane.songs)]
            dot = ink if lane.is_model else SOFT
            axes.scatter(values, [height] * len(values), s=26, color=dot, alpha=0.6, zorder=2)
            if values:
                mean = sum(values) / len(values)
                axes.plot([mean, mean], [height - 0.3, height + 0.3], color=INK, linewidth=2.2)
        axes.set_xlim(*limits)
        axes.set_ylim(len(lanes) - 0.45, -0.55)
        axes.set_yticks(range(len(lanes)), [lane.label for lane in lanes])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.grid(axis="x", color=RULE, linewidth=0.8)
        axes.set_xlabel("uSDR (dB)")
        return _svg(figure, f"uSDR of {stem.name} for each song")


def shared_limits(lanes: Sequence[Lane]) -> tuple[float, float]:
    """Return the range of dB that holds every song of every lane, with room beside."""
    values = [value for lane in lanes for value in lane.songs.values()] or [0.0]
    margin = max(0.5, 0.06 * (max(values) - min(values)))
    return min(values) - margin, max(values) + margin


def curve(name: str, losses: Losses) -> Markup:
    """Return one run's loss: every logged step faint, smoothed over it, validation as dots."""
    with _figure(2.7, salt=f"curve {name}") as (figure, axes):
        if losses.train:
            steps = [step for step, _ in losses.train]
            values = [loss for _, loss in losses.train]
            smooth = smoothed(values)
            stride = max(1, len(steps) // MOST_POINTS)
            axes.plot(
                steps[::stride], values[::stride], color=ACCENT, alpha=0.28, linewidth=1, zorder=2
            )
            axes.plot(
                steps[::stride],
                smooth[::stride],
                color=ACCENT,
                linewidth=2,
                label="training, smoothed",
                zorder=3,
            )
        if losses.validation:
            axes.scatter(
                [step for step, _ in losses.validation],
                [loss for _, loss in losses.validation],
                s=30,
                color=VOCALS,
                edgecolors=CARD,
                linewidths=1,
                label="validation",
                zorder=4,
            )
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.legend(frameon=False, loc="best", labelcolor=INK)
        return _svg(figure, f"Loss of {name} over its steps")


def smoothed(values: Sequence[float]) -> list[float]:
    """Return the exponential mean over about a twentieth of the run, unbiased at its start."""
    decay = 1 - 1 / max(2.0, len(values) / 20)
    total, weight, result = 0.0, 0.0, []
    for value in values:
        total = decay * total + (1 - decay) * value
        weight = decay * weight + (1 - decay)
        result.append(total / weight)
    return result


@contextmanager
def _figure(height: float, salt: str) -> Iterator[tuple[Figure, Axes]]:
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "font.size": 12,
        "axes.edgecolor": RULE,
        "axes.labelcolor": SOFT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.axisbelow": True,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "text.color": INK,
        # A name with two dollar signs is a name, not a formula.
        "text.parse_math": False,
        "axes.facecolor": "none",
        "axes.unicode_minus": True,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="none")
        yield figure, figure.subplots()


def _svg(figure: Figure, label: str) -> Markup:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>|<!--.*?-->", "", text, flags=re.DOTALL)
    # The page sets the typeface and the width; sizes and positions stay matplotlib's.
    text = re.sub(r"font(-family)?: [^;\"]*?'[^;\"]*(; ?|(?=\"))", _font_size_only, text)
    box = re.search(r'viewBox="([^"]*)"', text)
    shape = f' viewBox="{box[1]}"' if box else ""
    text = re.sub(
        r"<svg[^>]*>", f'<svg class="chart" role="img" aria-label="{escape(label)}"{shape}>', text
    )
    # What nothing refers to needs no name, and names must not repeat across one page's charts.
    referred = set(re.findall(r"#([\w.]+)", text))
    text = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in referred else "", text)
    for ink, variable in INKS.items():
        text = text.replace(ink, variable)
    # matplotlib has escaped every text of the chart.
    return Markup(text)


def _font_size_only(match: re.Match[str]) -> str:
    size = re.search(r"([\d.]+px)", match[0])
    return f"font-size: {size[1]}; " if size else ""
