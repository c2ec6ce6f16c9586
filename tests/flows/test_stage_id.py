"""Labels that people see stay as they are; ids are as different as the stages that they name."""

import pytest

from flows.stage_id import PackId, StageId


@pytest.mark.parametrize(
    ("what", "label"),
    [
        (StageId("pretrain"), "pretrain"),
        (StageId("evaluate", "train from scratch"), "evaluate train from scratch"),
        (StageId("evaluate", "finetune").of("seed-1"), "evaluate finetune seed-1"),
        (PackId.whole(), "pack"),
        (PackId.batch(["0000"]), "pack 0000"),
        (PackId.batch(["0000", "0001", "0002"]), "pack 0000 to 0002"),
        (PackId.batch(["0003"], "(fma_full.zip 1)"), "pack 0003 (fma_full.zip 1)"),
        (PackId.earlier("(fma_full.zip 1)"), "packed before (fma_full.zip 1)"),
    ],
)
def test_labels(what: StageId, label: str) -> None:
    assert what.label == str(what) == label


def test_ids_are_told_apart_by_what_they_are() -> None:
    assert StageId("pack") != PackId.whole(), "a study's own stage may have any name"
    assert len({PackId.whole(), PackId.batch(["0"]), PackId.earlier(), PackId.whole("x")}) == 4
    assert StageId("pretrain").of("small") == StageId("pretrain", variant="small")
