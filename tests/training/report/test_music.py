"""What a card says of licences: counts of what was listed, and plainly what nobody knows."""

from storage.records import TrainedOn
from training.report.music import INVENTED, JUDGEMENT, Music, licences_of, music_of


def track(licence: str, use: str = "pre-training", source: str = "fma.zip: a.mp3") -> TrainedOn:
    given = {"licence": licence, "use": use, "source": source}
    return TrainedOn.model_validate(
        {"artist": "A", "title": "T", "track": "1", "split": "training", **given}
    )


def test_licences_are_counted_by_archive_and_use() -> None:
    rows = [track("CC BY"), track(""), track("CC BY"), track("NC", "fine-tuning", "m.zip: a - b")]
    assert music_of(rows) == [
        Music("pre-training", "fma.zip", {"CC BY": 2, "none stated": 1}),
        Music("fine-tuning", "m.zip", {"NC": 1}),
    ]


def test_sentences_name_the_most_frequent_licences() -> None:
    many = {f"licence {letter}": 9 - number for number, letter in enumerate("abcdefgh")}
    text = licences_of({}, [Music("pre-training", "fma.zip", many)])
    assert text.startswith("Pre-training: 44 tracks of fma.zip, by licence: licence a (9);")
    assert "licence f (4); and 2 more. " in text
    assert text.endswith(JUDGEMENT)
    assert "1 track of m.zip, by licence: NC (1)." in licences_of(
        {}, [Music("fine-tuning", "m.zip", {"NC": 1})]
    )


def test_what_is_not_known_is_said() -> None:
    assert licences_of({}, []).startswith("Which music it was trained on, and under which")
    imported = licences_of({"imported": {"name": "x.ckpt"}}, [])
    assert imported.startswith("Imported from x.ckpt: which music that was trained on")
    tuned = [Music("fine-tuning", "m.zip", {"NC": 1})]
    text = licences_of({"given": {"imported_from": "x.ckpt"}}, tuned)
    assert text.startswith("Fine-tuning: 1 track")
    assert "made from the checkpoint x.ckpt: which music that was trained on" in text
    assert "not known" not in licences_of({"given": {"imported_from": ""}}, tuned)
    assert "The tracks of fma.zip are not listed" in licences_of({}, [], ["fma.zip"])
    assert INVENTED in licences_of({"synthesis": {"tracks": 3}}, tuned)
    assert INVENTED not in licences_of({}, tuned)
