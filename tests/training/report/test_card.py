"""A model's card: what it says follows from the configuration, whatever the model and the stems."""

from storage.config import Json
from storage.records import STEMS, SongScore
from training.report import card, score_table

TRAINING: Json = {
    "model": {"kind": "some_model", "blocks": 3, "causal": False, "rate": 0.1, "n_heads": 4},
    "loop": {"steps": 10, "seed": 7},
    "data": {"batch_size": 2, "segment_seconds": 4.0},
    "optim": {"lr": 0.001},
}
STUDY: Json = {
    "fma": {"archive": "fma.zip"},
    "musdb": {"archive": "stems.zip"},
    "pretraining": TRAINING,
    "finetuning": TRAINING,
}


def test_facts_are_the_configurations() -> None:
    facts = dict(card.facts_of(STUDY))
    assert facts["Model"] == "some_model (blocks 3, n heads 4)"
    assert facts["Pre-trained on"] == "fma.zip"
    assert facts["Fine-tuned on"] == "stems.zip"
    assert facts["Fine-tuning"] == "10 steps of 2 mixtures of 4.0 s, learning rate 0.001"
    assert facts["Seed"] == "7"
    assert "Caution" not in facts
    synthetic = dict(card.facts_of({**STUDY, "synthesis": {"songs": 3}}))
    assert synthetic["Fine-tuned on"] == "stems.zip (synthesised)"
    assert synthetic["Caution"] == card.SYNTHETIC


def test_nothing_known_is_said_to_be_unknown() -> None:
    assert dict(card.facts_of({})) == {"Model": "unknown", "Seed": "unknown"}


def test_the_stems_are_the_studys() -> None:
    assert "into bass, drums, vocals and everything else, at" in card.uses_of(STUDY)
    assert f"[batch, 4, 2, samples] out, the stems in the order {', '.join(STEMS)}." in (
        card.interface_of(STUDY)
    )
    two = {**STUDY, "evaluation": {"stems": ["lead_vocals", "rest"]}}
    assert "into lead vocals and rest, at" in card.uses_of(two)
    assert "[batch, 2, 2, samples] out, the stems in the order lead_vocals, rest." in (
        card.interface_of(two)
    )


def test_the_markdown_has_facts_scores_and_how_to_load() -> None:
    scores = [SongScore(song="x", stem=stem, usdr=1, usdr_mdx21=1, csdr=1) for stem in STEMS]
    text = card.markdown("mine", STUDY, score_table([("mine", scores)]), "Under all of them.")
    assert text.startswith("# mine\n")
    assert "| Seed | 7 |" in text
    assert "| mine | uSDR | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 |" in text
    assert 'load_model(Path("."))' in text
    assert "\n## Licences\n\nUnder all of them.\n" in text
    assert "Held to" not in text
    held = {**STUDY, "licences": ["CC0*", "*Attribution*"]}
    assert dict(card.facts_of(held))["Held to the licences"] == "CC0*, *Attribution*"


def test_a_pre_trained_model_has_no_stems() -> None:
    alone = {name: value for name, value in STUDY.items() if name != "finetuning"}
    text = card.markdown("mine", alone, score_table([]), "")
    assert card.UNTUNED in text
    assert "Not scored." in text
    assert "in the order" not in text


def test_a_model_made_from_another_names_it() -> None:
    tuned = {"musdb": STUDY["musdb"], "finetuning": TRAINING}
    assert "Made from" not in dict(card.facts_of(tuned))
    for given, words in (({"imported_from": "x.ckpt"}, "the checkpoint x.ckpt"), ({}, "another")):
        made_from = dict(card.facts_of({**tuned, "given": given}))["Made from"]
        assert made_from.startswith(words)
        assert "licence" in made_from


def test_an_imported_model_says_so_and_claims_no_training() -> None:
    imported: Json = {
        "imported": {"name": "x.ckpt", "sha256": "abc"},
        "model": TRAINING["model"],
        "evaluation": {"stems": ["vocals", "other"]},
    }
    text = card.markdown("mine", imported, score_table([]), "Unknown.")
    assert "| Model | some_model (blocks 3, n heads 4) |" in text
    assert "| Imported from | the checkpoint x.ckpt |" in text
    assert "| Trained on | unknown: the checkpoint does not say |" in text
    assert "Splits recorded music into vocals and everything else. It was imported" in text
    assert "[batch, 2, 2, samples] out" in text
    assert not {"Fine-tuned", "Fine-tuning", "Seed"} & set(text.replace("|", " ").split())
    nameless = {**imported, "evaluation": {"stems": []}}
    assert card.uses_of(nameless) == card.NAMELESS
    assert card.interface_of(nameless) == ""
