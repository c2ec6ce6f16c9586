"""A model's card: what it is, out of what, how good, for what, and how to load it."""

from collections.abc import Sequence
from typing import Any

from storage.config import Json
from training.report.markup import Column, details, escape, missing, paragraph, table
from training.report.material import Material, Scored
from training.report.tables import ScoreTable, score_table

LOADING = """\
from pathlib import Path
from training.engine.weights import load_model
separator = load_model(Path("{folder}"))
"""
"""How a model's folder is loaded in plain PyTorch."""

ORDER = (
    "'separator' is a torch.nn.Module in evaluation mode: float32 [batch, 1, 2, samples] at the "
    "model's sample rate in, [batch, 4, 2, samples] out, the stems in the order bass, drums, "
    "vocals, other."
)

USES = (
    "Splits recorded music into bass, drums, vocals and everything else, at 44.1 kHz in stereo; "
    "'stemworks separate' takes other rates and mono too. It was trained on popular music "
    "and leaks more on what differs from it. Not for identifying or imitating singers, and no "
    "licence to the recordings that it separates."
)

UNTUNED = (
    "Pre-trained by mixture invariant training on mixtures alone, at 44.1 kHz in stereo: its "
    "outputs bear no names, and none of them is a stem yet. To be fine-tuned."
)

LICENCES = (
    "MUSDB18-HQ is for educational and research use alone. Tracks of the Free Music Archive "
    "carry licences of their own, most of them non-commercial; each clip's JSON holds its "
    "track's. What they allow of a model trained on them is for its user to judge."
)

SYNTHETIC = "The music was synthesised: the model shows that the works run, and separates little."


def section_of(material: Material, scored: Sequence[Scored]) -> str:
    """Return the card as the page's section."""
    if not material.study:
        return missing("No configuration was given.")
    found = score_table([(each.row.name, each.scores) for each in scored])
    text = markdown(material.title, material.study, found)
    return (
        table([Column("Fact"), Column("Of this model")], facts_of(material.study))
        + paragraph(USES)
        + paragraph(LICENCES, "note")
        + f"<pre>{escape(LOADING.format(folder='model'))}</pre>\n"
        + paragraph(f"{ORDER} 'stemworks export RUN model' writes the folder and its card.", "note")
        + details("The card as Markdown", f"<pre>{escape(text)}</pre>")
    )


def markdown(title: str, study: Json, scores: ScoreTable) -> str:
    """Return the card of a separator, for a README.md beside its weights.

    Args:
        title: what the card is headed by.
        study: the parts of a study's configuration that the separator was made by: without
            `pretraining` it was trained from scratch, without `finetuning` it is pre-trained alone.
        scores: of the separator; may be empty.
    """
    facts = "".join(f"| {name} | {value} |\n" for name, value in facts_of(study))
    tuned = "finetuning" in study
    return (
        f"# {title}\n\n{USES if tuned else UNTUNED}\n\n## Made of\n\n| | |\n|---|---|\n{facts}\n"
        f"{LICENCES}\n\n## Scores in dB\n\n"
        f"{scores.markdown() if scores.lines else 'Not scored.'}\n"
        f"\n## To load\n\n```python\n{LOADING.format(folder='.')}```\n\n{ORDER if tuned else ''}\n"
    )


def facts_of(study: Json) -> list[tuple[str, str]]:
    """Return what a study's configuration says of its separator, as names and values."""
    synthetic, facts = bool(study.get("synthesis")), []
    if "pretraining" in study:
        facts += [
            ("Pre-trained on", _data(study.get("fma", {}), synthetic)),
            ("Pre-training", _length(study["pretraining"], "mixtures of mixtures")),
        ]
    if "finetuning" in study:
        facts += [
            ("Fine-tuned on", _data(study.get("musdb", {}), synthetic)),
            ("Fine-tuning", _length(study["finetuning"], "mixtures")),
        ]
    last = study.get("finetuning") or study.get("pretraining") or {}
    facts.insert(0, ("Model", _size(last.get("model", {}))))
    facts.append(("Seed", str(last.get("loop", {}).get("seed", "unknown"))))
    return [*facts, ("Caution", SYNTHETIC)] if synthetic else facts


def _size(model: Json) -> str:
    parts = ("blocks", "width", "hidden", "heads")
    sizes = ", ".join(f"{name} {model[name]}" for name in parts if name in model)
    return f"BS-Locoformer ({sizes})" if sizes else "unknown"


def _data(corpus: Json, synthetic: bool) -> str:
    name = str(corpus.get("archive", "unknown"))
    return f"{name} (synthesised)" if synthetic else name


def _length(training: Json, what: str) -> str:
    def of(group: str, name: str) -> Any:
        return training.get(group, {}).get(name, "?")

    return (
        f"{of('loop', 'steps')} steps of {of('data', 'batch_size')} {what} of "
        f"{of('data', 'segment_seconds')} s, learning rate {of('optim', 'lr')}"
    )
