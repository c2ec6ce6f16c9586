"""A model's card: what it is, what it was made from, how good it is, its uses, how to load it."""

from collections.abc import Sequence
from typing import Any

from storage.config import Json
from storage.records import STEMS
from training.report.score_tables import ScoreTable

LOADING = """\
from pathlib import Path
from training.checkpoints.weights import load_model
separator = load_model(Path("{folder}"))
"""
"""How a model's folder is loaded in plain PyTorch."""

INTERFACE = (
    "'separator' is a torch.nn.Module in evaluation mode: float32 [batch, 1, 2, samples] at the "
    "model's sample rate in, [batch, {number}, 2, samples] out, the stems in the order {stems}."
)

USES = (
    "Splits recorded music into {stems}, at 44.1 kHz in stereo; 'stemworks separate' takes other "
    "rates and mono too. It was trained on popular music and leaks more on what differs from it. "
    "Not for identifying or imitating singers, and no licence to the recordings that it separates."
)

IMPORTED = (
    "Splits recorded music into {stems}. It was imported: for what it is fit, its publisher says."
)

NAMELESS = (
    "Separates recorded music; its outputs have no names. It was imported: for what it is fit, its "
    "publisher says."
)

UNTUNED = (
    "Pre-trained by mixture invariant training on mixtures alone, at 44.1 kHz in stereo: its "
    "outputs have no names, and none of them is a stem yet. To be fine-tuned."
)

SYNTHETIC = (
    "The music was synthesised: the model proves that the software runs, and separates little."
)


def markdown(title: str, study: Json, scores: ScoreTable, licences: str) -> str:
    """Return the card of a separator, for a README.md beside its weights.

    Args:
        title: the card's heading.
        study: the parts of a study's configuration that the separator was made by: without
            `pretraining` it was trained from scratch, without `finetuning` it is pre-trained alone.
            `given`: the facts of the model that it was made from, where that was no pre-training.
            `imported`: of a model that was imported, what its `model.json` says of its checkpoint.
        scores: of the separator; may be empty.
        licences: the paragraph about the music that it was trained on (`music.licences_of`).
    """
    facts = "".join(f"| {name} | {value} |\n" for name, value in facts_of(study))
    return (
        f"# {title}\n\n{uses_of(study)}\n\n## Made of\n\n| | |\n|---|---|\n{facts}\n"
        f"## Licences\n\n{licences}\n\n## Scores in dB\n\n"
        f"{scores.markdown() if scores.lines else 'Not scored.'}\n"
        f"\n## To load\n\n```python\n{LOADING.format(folder='.')}```\n\n{interface_of(study)}\n"
    )


def uses_of(study: Json) -> str:
    """Return what the separator is for, and what it is not for."""
    stems = _stems(study)
    if "imported" in study:
        return IMPORTED.format(stems=_listed(stems)) if stems else NAMELESS
    return USES.format(stems=_listed(stems)) if "finetuning" in study else UNTUNED


def interface_of(study: Json) -> str:
    """Return what the loaded separator takes and gives; nothing if its outputs have no names."""
    stems = _stems(study)
    if not stems or not {"finetuning", "imported"} & study.keys():
        return ""
    return INTERFACE.format(number=len(stems), stems=", ".join(stems))


def facts_of(study: Json) -> list[tuple[str, str]]:
    """Return what a study's configuration says about its separator, as names and values."""
    if "imported" in study:
        return _facts_of_imported(study)
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
    if "given" in study:
        facts.insert(1, ("Made from", _origin(study["given"])))
    if "licences" in study:
        facts.append(("Held to the licences", ", ".join(study["licences"])))
    facts.append(("Seed", str(last.get("loop", {}).get("seed", "unknown"))))
    return [*facts, ("Caution", SYNTHETIC)] if synthetic else facts


def _facts_of_imported(study: Json) -> list[tuple[str, str]]:
    origin = study["imported"]
    return [
        ("Model", _size(study.get("model", {}))),
        ("Imported from", f"the checkpoint {origin.get('name', 'of an unknown name')}"),
        ("Its sha256", str(origin.get("sha256", "unknown"))),
        ("Trained on", "unknown: the checkpoint does not say"),
    ]


def _listed(stems: Sequence[str]) -> str:
    """Return stems as a sentence lists them."""
    named = ["everything else" if stem == "other" else stem for stem in stems]
    *others, last = [name.replace("_", " ") for name in named]
    return f"{', '.join(others)} and {last}" if others else last


def _stems(study: Json) -> Sequence[str]:
    """Return the names of the outputs, in the model's order."""
    return tuple(study.get("evaluation", {}).get("stems", STEMS))


def _size(model: Json) -> str:
    """Return a model's kind and its whole numbers: depth, width and the like."""
    sizes = [
        f"{name.replace('_', ' ')} {value}"
        for name, value in model.items()
        if isinstance(value, int) and not isinstance(value, bool)
    ]
    return f"{model.get('kind', 'unknown')} ({', '.join(sizes)})" if sizes else "unknown"


def _origin(given: Json) -> str:
    """Return what a fine-tuned model was made from: another model, whose licence holds."""
    name = given.get("imported_from")
    what = f"the checkpoint {name}" if name else "another model"
    return f"{what}, under that one's licence"


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
