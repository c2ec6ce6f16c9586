"""Reading shards: random crops by offset, webdataset's whole clips in order, and bare bytes."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import webdataset

from pipelines.pack import pack_unit
from storage.audio import decode_window
from storage.files import write_json
from storage.shards import ShardIndex, ShardReader, describe
from tests.benchmarks.material import CONFIG, request
from tests.benchmarks.measure import Result, Variant, in_turns

RATE = CONFIG.filters.sample_rate
CROP = 2 * RATE
ROUNDS = 9


def run() -> Result:
    """Measure one pass over all clips of a corpus that lies in the page cache."""
    index = _corpus()
    bench = _Bench(index)
    rows = in_turns(
        [
            Variant("ShardReader: 2 s crops, random order", "ours", bench.crops),
            Variant("ShardReader: whole clips, random order", "other", bench.wholes),
            Variant("webdataset: in order, decode the clip, crop", "library", bench.webdataset),
            Variant("the same bytes, not decoded", "floor", bench.bytes_only),
        ],
        ROUNDS,
    )
    clips = len(bench.reader.entries)
    notes = (f"{rows[0].median / clips * 1e3:.2f} ms per crop, one thread",)
    return Result("Reading shards", rows, clips, "clips", notes)


class _Bench:
    def __init__(self, index: Path) -> None:
        self.reader = ShardReader(index)
        self._folder = index.parent / "shards"
        self._draw = np.random.default_rng(0)

    def crops(self) -> None:
        slack = self.reader.index.clip_frames - CROP
        for entry in self._shuffled():
            self.reader.read(self.reader.entries[entry], int(self._draw.integers(slack + 1)), CROP)

    def wholes(self) -> None:
        for entry in self._shuffled():
            self.reader.read(self.reader.entries[entry])

    def webdataset(self) -> None:
        shards = [str(path) for path in sorted(self._folder.glob("*.tar"))]
        samples = webdataset.WebDataset(shards, shardshuffle=False, empty_check=False)
        for sample in samples:
            start = int(self._draw.integers(self.reader.index.clip_frames - CROP + 1))
            decode_window(sample["flac"], sample["__key__"])[:, start : start + CROP].copy()

    def bytes_only(self) -> None:
        for number in self._shuffled():
            entry = self.reader.entries[number]
            with (self._folder / entry.shard).open("rb") as stream:
                stream.seek(entry.offset)
                stream.read(entry.bytes)

    def _shuffled(self) -> Iterator[int]:
        return iter(self._draw.permutation(len(self.reader.entries)).tolist())


def _corpus() -> Path:
    wanted = request("reading")
    pack_unit(wanted)
    shards = tuple(describe(path) for path in sorted((wanted.corpus / "shards").glob("*.tar")))
    index = ShardIndex(
        sample_rate=RATE,
        clip_frames=CONFIG.clips.seconds * RATE,
        codec=CONFIG.shards.codec,
        shards=shards,
    )
    write_json(wanted.corpus / "index.json", index.model_dump(mode="json"))
    return wanted.corpus / "index.json"
