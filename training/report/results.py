"""What the study found: the verdict, the scores, every song, the losses."""

import math
from collections.abc import Sequence

from storage.audio.residual import NOTICEABLE_RESIDUAL
from training.report import plots, published
from training.report.gains import Pairing, gain_of
from training.report.markup import (
    Column,
    count,
    details,
    escape,
    missing,
    paragraph,
    swatch,
    table,
)
from training.report.material import Curve, Losses, Scored, read_losses
from training.report.tables import (
    FEW_SONGS,
    STEM_COLUMNS,
    TARGET_GAIN,
    TRIVIAL,
    Ends,
    ScoreTable,
    decibels,
    defined,
    gain_line,
    gain_over_trivial,
    score_table,
    signed,
)

DEFINITIONS = (
    "cSDR: median over songs of each song’s median over one-second frames (museval v4). uSDR: "
    "mean over songs of the signal-to-noise ratio of the whole song, per channel and then "
    "averaged. In dB; higher is better."
)

CONFIDENCE = (
    "Under each number of this study: its 95 % interval when songs are drawn again (percentile "
    "bootstrap, 10,000 times). It tells what other songs might have given, and nothing of what "
    "another seed might have."
)


def verdict(scored: Sequence[Scored]) -> str:
    """Return each model's gain over the trivial estimate, large, and in one sentence."""
    cards = "".join(_card(each) for each in scored)
    return f'<div class="verdicts">{cards}</div>\n{_difference(scored)}' if cards else ""


def scores(scored: Sequence[Scored]) -> str:
    """Return the score table above the published one, and uSDR in its other form."""
    found = score_table([(each.key, each.scores) for each in scored], with_ends=True)
    names = {each.key: each.row.name for each in scored}
    lines = [_study_line(found, each.key, f"{each.key}  {each.row.name}") for each in scored]
    if found.line(TRIVIAL, "uSDR"):
        lines.append(_study_line(found, TRIVIAL, TRIVIAL))
    pairs = [
        (row.id, row.model, [row.vocals, row.bass, row.drums, row.other, row.average])
        for row in published.TABLE_1
    ]
    theirs = [
        _line(f"{id}  {model}", [value for pair in cells for value in pair])
        for id, model, cells in pairs
    ]
    bodies = _body("This study", lines or [_line("not scored yet", [None] * 10)])
    bodies += _body("Published, MUSDB18-HQ test set, full scale", theirs, "published")
    return (
        f'<div class="wide"><table class="scores">{_score_head()}{bodies}</table></div>\n'
        + paragraph(f"{DEFINITIONS} {CONFIDENCE}", "note")
        + _residuals(scored)
        + paragraph(f"{published.CAUTION} {published.CITATION}", "note caution")
        + _other_forms(found, names)
    )


def songs(scored: Sequence[Scored]) -> str:
    """Return each stem's songs as dots, and the same as a table that folds away."""
    if not any(each.scores for each in scored):
        return missing("No song has been scored yet.")
    lanes = {stem: _lanes(stem, scored) for stem in STEM_COLUMNS}
    limits = plots.shared_limits([lane for stem in lanes.values() for lane in stem])
    panels = "".join(
        f"<figure><figcaption>{swatch(stem)}{stem.capitalize()}</figcaption>"
        f"{plots.strip(stem, lanes[stem], limits)}</figure>\n"
        for stem in STEM_COLUMNS
    )
    key = "; ".join(f"{each.key}: {each.row.name}" for each in scored)
    legend = f"One dot per song, one scale for all stems. {key}; ¼: {TRIVIAL}. The bar is the mean"
    lines = "; a line joins one song under two models." if len(scored) > 1 else "."
    return (
        paragraph(legend + lines, "note")
        + f'<div class="panels">{panels}</div>\n'
        + details("Every song in numbers (uSDR, dB)", _song_table(scored))
    )


def losses(curves: Sequence[Curve]) -> str:
    """Return one panel per training run."""
    if not curves:
        return missing("No training run belongs to this study yet.")
    panels = []
    for curve in curves:
        read = read_losses(curve.metrics)
        drawn = bool(read.train or read.validation)
        picture = plots.curve(curve.name, read) if drawn else missing("Nothing logged yet.")
        panels.append(
            f"<figure><figcaption>{escape(curve.name)}</figcaption>{picture}"
            f"{paragraph(_loss_facts(read), 'note') if drawn else ''}</figure>\n"
        )
    return f'<div class="panels">{"".join(panels)}</div>\n'


def _card(each: Scored) -> str:
    gain = gain_over_trivial(each.scores)
    if math.isnan(gain):
        mark = '<span class="mark">not scored yet</span>'
    elif gain >= TARGET_GAIN:
        mark = '<span class="mark met">✓ target met</span>'
    else:
        mark = '<span class="mark unmet">✗ target not met</span>'
    return (
        f'<div class="verdict"><div class="gain">{signed(gain)}<small> dB</small></div>'
        f"<div>{mark}{paragraph(gain_line(each.row.name, each.scores))}</div></div>"
    )


def _difference(scored: Sequence[Scored]) -> str:
    number = len({score.song for each in scored for score in each.scores})
    found = score_table([(each.key, each.scores) for each in scored[:2]])
    first, second = found.line("A", "uSDR"), found.line("B", "uSDR")
    text = f"Scored on {count(number, 'song')}."
    if first and second and first.average is not None and second.average is not None:
        gain = gain_of("", [Pairing("", scored[0].scores, scored[1].scores)])
        sure = f" (95 %: {signed(gain.ends[0])} to {signed(gain.ends[1])} dB)" if gain.ends else ""
        text = (
            f"{scored[0].row.name} against {scored[1].row.name}: "
            f"{signed(first.average - second.average)} dB uSDR, on {count(number, 'song')}{sure}."
        )
    if 0 < number < FEW_SONGS:
        text += " So few songs make an illustration, not evidence."
    return paragraph(text, "lead") if number else ""


def _score_head() -> str:
    stems = "".join(
        f'<th scope="colgroup" colspan="2">{swatch(stem)}{stem.capitalize()}</th>'
        for stem in STEM_COLUMNS
    )
    metrics = '<th scope="col" class="n">cSDR</th><th scope="col" class="n">uSDR</th>' * 5
    return (
        '<thead><tr><th rowspan="2" scope="col">Model</th>'
        f'{stems}<th scope="colgroup" colspan="2">Average</th></tr><tr>{metrics}</tr></thead>\n'
    )


def _body(title: str, lines: Sequence[str], kind: str = "ours") -> str:
    head = f'<tr class="over"><th colspan="11" scope="rowgroup">{escape(title)}</th></tr>'
    return f'<tbody class="{kind}">{head}\n{"".join(lines)}</tbody>\n'


def _study_line(found: ScoreTable, model: str, label: str) -> str:
    rows = [found.line(model, metric) for metric in ("cSDR", "uSDR")]
    columns = [[*row.stems, row.average] if row else [None] * 5 for row in rows]
    # How sure the trivial estimate is, nobody asks.
    sure = [row.ends if row and model != TRIVIAL else () for row in rows]
    ends = [one or (None,) * 5 for one in sure]
    return _line(
        label,
        [value for pair in zip(*columns, strict=True) for value in pair],
        [value for pair in zip(*ends, strict=True) for value in pair],
    )


def _line(
    label: str, values: Sequence[float | None], ends: Sequence[Ends | None] | None = None
) -> str:
    cells = "".join(
        f'<td class="n">{decibels(value)}{_between(one)}</td>'
        for value, one in zip(values, ends or [None] * len(values), strict=True)
    )
    return f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>\n'


def _between(ends: Ends | None) -> str:
    if ends is None:
        return ""
    low, high = (f"{end:.1f}".replace("-", "−") for end in ends)
    return f'<small class="ends">{low}…{high}</small>'


def _residuals(scored: Sequence[Scored]) -> str:
    """Say which songs' mixtures are not their stems' sum."""
    odd = {
        score.song: score.residual
        for each in scored
        for score in each.scores
        if score.residual is not None and score.residual > NOTICEABLE_RESIDUAL
    }
    if not odd:
        return ""
    named = "; ".join(f"{song} ({100 * level:.0f} %)" for song, level in sorted(odd.items()))
    return paragraph(
        "Songs whose mixture is not the sum of their stems, by the level of what is left; no "
        f"separator can be perfect there: {named}.",
        "note",
    )


def _other_forms(found: ScoreTable, names: dict[str, str]) -> str:
    forms = {
        "uSDR (MDX21)": "uSDR, MDX21 form",
        "SI-SDR": "SI-SDR",
        "museval": "cSDR by museval itself",
    }
    rows = [
        [names[line.model], forms[line.metric], *map(decibels, [*line.stems, line.average])]
        for line in found.lines
        if line.metric in forms
    ]
    if not rows:
        return ""
    columns = [Column("Model"), Column("Metric")]
    columns += [Column(title, True) for title in [*map(str.capitalize, STEM_COLUMNS), "Average"]]
    note = "The 2021 challenge’s form sums energies over channels before the ratio is taken."
    return details(
        "Other metrics, and uSDR in the 2021 challenge’s form",
        table(columns, rows) + paragraph(note),
    )


def _lanes(stem: str, scored: Sequence[Scored]) -> list[plots.Lane]:
    found = []
    trivial: dict[str, float] = {}
    for each in scored:
        own = [score for score in each.scores if score.stem == stem]
        values = {score.song: defined(score.usdr) for score in own}
        found.append(plots.Lane(each.key, _known(values)))
        trivial |= _known({score.song: defined(score.usdr_trivial) for score in own})
    return [*found, plots.Lane("¼", trivial, is_model=False)] if trivial else found


def _known(values: dict[str, float | None]) -> dict[str, float]:
    return {song: value for song, value in values.items() if value is not None}


def _song_table(scored: Sequence[Scored]) -> str:
    cells = {(each.key, s.song, s.stem): s.usdr for each in scored for s in each.scores}
    columns = [Column("Song"), Column("Model")]
    columns += [Column(stem.capitalize(), True) for stem in STEM_COLUMNS]
    rows = [
        [song, key, *(decibels(cells.get((key, song, stem))) for stem in STEM_COLUMNS)]
        for song, key in sorted({(song, key) for key, song, _ in cells})
    ]
    return table(columns, rows)


def _loss_facts(read: Losses) -> str:
    facts = []
    if read.train:
        facts.append(f"{count(read.train[-1][0], 'step')}")
    if read.validation:
        step, best = min(read.validation, key=lambda point: point[1])
        facts.append(f"best validation loss {decibels(best)} at step {step:,}")
    if read.speed is not None:
        facts.append(f"{read.speed:.3g} examples per second (median)")
    return " · ".join(facts)
