"""A corpus's card: what it holds, under which licences, by which rules, and how it is read."""

from collections.abc import Iterable, Sequence

from pipelines.config import FmaConfig
from pipelines.packing.cards.contents import Contents, Shares
from storage.config import Config, Json
from storage.files import hash_file, read_json, write_bytes
from storage.home.layout import Corpus
from storage.manifests import write_table
from storage.records import Attribution
from storage.shards.writer import ShardIndex

READING = """\
import io
import json
from pathlib import Path

import soundfile
import webdataset

folder = Path(".")  # of this card
index = json.loads((folder / "index.json").read_text())
tars = [str(folder / "shards" / shard["name"]) for shard in index["shards"]]
for sample in webdataset.WebDataset(tars, shardshuffle=False):
    about = json.loads(sample["json"])
    sound, rate = soundfile.read(io.BytesIO(sample["{codec}"]))  # [frames, 2]
    print(sample["__key__"], about["artist"], about["title"], about["licence"], len(sound) / rate)
    break
"""
"""How a corpus is read without this package."""

CLIPS = "A sample is a clip of {clip} s; clips start every {hop} s and overlap."
SEGMENTS = (
    "A sample is {hop} s of a track. Clips of {clip} s are samples that follow each other, and "
    "share them; `shards/*.idx.json` says at which sample each clip begins."
)

TERMS = (
    "Each recording keeps the licence that its artist gave it: to use, change or hand on this "
    "corpus is to keep to the licences of all its tracks. [ATTRIBUTION.csv](ATTRIBUTION.csv) names "
    "every track with its artist, its licence and where it is from; so does each sample's JSON."
)


def write_card(
    corpus: Corpus, config: FmaConfig, contents: Contents, census: Json, plan: str
) -> None:
    """Write `README.md` and `ATTRIBUTION.csv` beside a corpus's index, which is there.

    Args:
        corpus: the folder.
        config: that it was packed by.
        contents: its kept tracks.
        census: what became of all tracks, as `census.json` has it.
        plan: the plan's digest.
    """
    credits = sorted(contents.attributions, key=lambda one: one.track)
    write_table(corpus.attribution, Attribution, credits)
    index = ShardIndex.model_validate(read_json(corpus.index))
    parts = [
        f"# {config.archive}, packed",
        _summary(census, index),
        TERMS,
        "## Tracks",
        _table(("track", "tracks", "hours"), _outcomes(census)),
        "## Licences",
        _shares("licence", contents.licences),
        "## Genres",
        _shares("genre", contents.genres),
        "## Splits",
        _shares("split", contents.splits),
        "## Rules",
        "What decided which tracks and seconds are here, and how they are stored:",
        _table(("setting", "value", "what it does"), _rules(config)),
        "## Digests",
        _table(("of", "sha256"), _digests(corpus, plan)),
        "## To read",
        _sample(config),
        f"```python\n{READING.format(codec=index.codec)}```",
    ]
    write_bytes(corpus.card, ("\n\n".join(parts) + "\n").encode())


def _summary(census: Json, index: ShardIndex) -> str:
    return (
        f"{census['kept']} of {census['tracks_in']} tracks: {census['hours']:.2f} hours of music, "
        f"each second counted once, in {index.clips} clips. {len(index.shards)} shards of "
        f"{index.bytes / 1e9:.3f} GB in all: [WebDataset](https://github.com/webdataset/webdataset)"
        f" tars of {index.codec.upper()}, {index.sample_rate} Hz, stereo."
    )


def _outcomes(census: Json) -> Iterable[Sequence[str]]:
    """Yield a row for each thing that became of tracks, by its reason."""
    lost = census["hours_lost"]
    yield "in the archive", str(census["tracks_in"]), f"{census['hours_in']:.3f}"
    yield "kept", str(census["kept"]), f"{census['hours']:.3f}"
    if "unclipped" in lost:
        yield "kept, but in no clip: silence and ends", "", f"{lost['unclipped']:.3f}"
    for outcome, why in (("filtered", "left out by a rule"), ("quarantined", "damaged")):
        for reason, count in census[outcome].items():
            yield f"{why}: `{reason}`", str(count), f"{lost.get(reason, 0):.3f}"


def _rules(config: FmaConfig) -> Iterable[Sequence[str]]:
    groups: dict[str, Config] = {
        "filters": config.filters,
        "clips": config.clips,
        "shards": config.shards,
    }
    for group, settings in groups.items():
        for name, field in type(settings).model_fields.items():
            value = getattr(settings, name)
            shown = ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            # What is empty or not set leaves nothing out.
            shown = "any" if value in ((), None) else shown
            yield f"`{group}.{name}`", shown, field.description or ""


def _digests(corpus: Corpus, plan: str) -> Iterable[Sequence[str]]:
    yield "the plan", f"`{plan}`"
    yield "index.json, which holds those of all shards", f"`{hash_file(corpus.index)}`"
    yield "census.json", f"`{hash_file(corpus.census)}`"
    yield "ATTRIBUTION.csv", f"`{hash_file(corpus.attribution)}`"


def _sample(config: FmaConfig) -> str:
    words = SEGMENTS if config.shards.storage == "segments" else CLIPS
    return words.format(clip=config.clips.seconds, hop=config.clips.hop_seconds)


def _shares(of: str, shares: Shares) -> str:
    """Return a table of parts, the largest first."""
    ordered = sorted(shares.items(), key=lambda item: (-item[1].seconds, item[0]))
    rows = [
        (name, str(share.tracks), str(share.clips), f"{share.seconds / 3600:.3f}")
        for name, share in ordered
    ]
    return _table((of, "tracks", "clips", "hours"), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    """Return text in one line, whatever an archive's titles and licences hold."""
    return " ".join(text.split()).replace("|", "\\|")
