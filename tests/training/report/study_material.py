"""Small studies to report: one with every part, and one whose every name is hostile."""

import json
from pathlib import Path

import numpy as np

from storage.audio.waveforms import encode
from storage.files import write_json
from storage.manifests import write_rows
from storage.records import ChannelMap, SongScore, plain
from training.report import Curve, Lineage, Material, Row
from training.report.stems import STEM_COLUMNS

RATE = 22_050
SONG = "<script>alert(1)</script> & \"x'"
"""A name that would leave both an element and an attribute of either quote."""


def excerpts(folder: Path, songs: list[str], seconds: float = 0.5) -> Path:
    """Write tones as excerpts of each song."""
    time = np.arange(int(seconds * RATE)) / RATE
    listed = []
    for number, song in enumerate(songs):
        (folder / str(number)).mkdir(parents=True)
        names = ["mixture", *STEM_COLUMNS, *(f"{stem}-reference" for stem in STEM_COLUMNS)]
        for pitch, name in enumerate(names, 2):
            tone = (0.1 * np.sin(2 * np.pi * 110 * pitch * time)).astype(np.float32)
            path = folder / str(number) / f"{name}.flac"
            path.write_bytes(encode(np.stack([tone, tone / 2]), RATE))
        listed.append({"song": song, "folder": str(number)})
    write_json(folder / "excerpts.json", listed)
    return folder


def score_rows(path: Path, gain: float) -> Path:
    """Write scores of two songs; one stem of the second is undefined."""
    rows = [
        SongScore(
            song=song,
            stem=stem,
            usdr=None if (song, stem) == ("Plain", "other") else gain + number,
            usdr_mdx21=gain,
            csdr=None,
            usdr_trivial=1.0,
        )
        for song in (SONG, "Plain")
        for number, stem in enumerate(STEM_COLUMNS)
    ]
    write_rows(path, rows)
    return path


def metrics(path: Path) -> Path:
    """Write a short run's log."""
    rows: list[dict[str, object]] = [
        {"kind": "train", "step": step, "loss": -step / 10} for step in range(30)
    ]
    rows.append({"kind": "validation", "step": 20, "loss": -1.5})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def channels(path: Path) -> Path:
    """Write a channel map of five outputs."""
    found = ChannelMap(
        stems=("bass", "drums", "vocals", "other"),
        channels=(2, 0, 1, 4),
        votes=((0, 1, 7, 0, 2), (10, 0, 0, 0, 0), (1, 9, 0, 0, 0), (0, 0, 0, 4, 6)),
        chunks=10,
    )
    write_json(path, plain(found))
    return path


def census(path: Path) -> Path:
    """Write a census, with a key that the report does not know."""
    counted = {
        "tracks_in": 17,
        "kept": 10,
        "filtered": {"rate_below_44100": 2, "too_short": 2},
        "quarantined": {"empty": 1, "not_audio": 1, "truncated": 1},
        "clips": 109,
        "hours": 0.25,
        "tracks": {"000002": 25, "000005": 22},
        "further": {"key": 1},
        "hours_lost": {"too_short": 0.125},
        "measures": {"level": {"words": "Level of a track", "edges": [0, 10], "hours": [0, 1, 3]}},
    }
    write_json(path, counted)
    return path


LINEAGE = (
    Lineage(stage="pack", key="a" * 20, digest="1" * 20, seconds=75, facts={}, inputs={}),
    Lineage(
        stage="pretrain",
        key="b" * 20,
        digest="2" * 20,
        seconds=3700,
        facts={"steps": 8000, "loss": -9.123456, "nested": {"x": 1}},
        inputs={"index": "1" * 20},
    ),
)


def material(root: Path) -> Material:
    """Return a small study with every part."""
    rows = (
        Row(
            name="MixIT, then fine-tuning",
            scores=score_rows(root / "a.jsonl", 3.0),
            excerpts=excerpts(root / "a", [SONG]),
        ),
        Row(
            name="from scratch",
            scores=score_rows(root / "b.jsonl", 1.0),
            excerpts=excerpts(root / "b", [SONG, "Plain"]),
        ),
    )
    return Material(
        title="Demo & <more>",
        study={"name": "demo", "model": {"width": 128, "betas": [0.9, 0.99]}, "none": None},
        rows=rows,
        curves=(Curve(name="pre-training", metrics=metrics(root / "metrics.jsonl")),),
        census=census(root / "census.json"),
        channels=channels(root / "channels.json"),
        lineage=LINEAGE,
    )


def hostile(root: Path) -> Material:
    """Return a study in which every name and value from outside is `SONG`."""
    nasty = score_rows(root / "scores.jsonl", 3.0)
    rows = [
        json.loads(line) | {"stem": SONG, "residual": 0.5}
        for line in nasty.read_text().splitlines()
    ]
    write_rows(nasty, [SongScore.model_validate(row) for row in rows])
    write_json(root / "census.json", {"kept": 1, "filtered": {SONG: 1}})
    votes = {"stems": [SONG], "channels": [0], "votes": [[1]], "chunks": 1}
    write_json(root / "channels.json", votes)
    stage = Lineage(
        stage=SONG, key=SONG, digest=SONG, seconds=1, facts={SONG: SONG}, inputs={SONG: SONG}
    )
    listed = excerpts(root / "sounds", [SONG])
    for reference in ("", "-reference"):
        kept = listed / "0" / f"{STEM_COLUMNS[0]}{reference}.flac"
        kept.rename(listed / "0" / f"other{reference}.flac")
    return Material(
        title=SONG,
        study={
            SONG: {SONG: [SONG]},
            "evaluation": {"stems": [SONG]},
            "finetuning": {"model": {"kind": SONG, SONG: 1}},
        },
        rows=(Row(name=SONG, scores=nasty, excerpts=listed),) * 2,
        curves=(Curve(name=SONG, metrics=metrics(root / "metrics.jsonl")),),
        census=root / "census.json",
        channels=root / "channels.json",
        lineage=(stage,),
        stems=(SONG, "other"),
    )
