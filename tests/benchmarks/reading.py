"""Reading shards: random crops in either form of storage, webdataset, and decoding alone."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import soundfile
import webdataset

from storage.audio.waveforms import Waveform
from storage.home.layout import Corpus
from storage.shards.reader import ShardReader
from tests.benchmarks.benchmark import Benchmark
from tests.benchmarks.material import music, workplace
from tests.benchmarks.measure import Variant, in_turns
from tests.benchmarks.report.form import Comparison, Figure, Measurement, Target
from tests.shards import Form, write_corpus
from training.data.clips.config import ClipsData
from training.data.clips.source import ClipPairs

RATE = 44_100
CLIP, CROP = 10 * RATE, 6 * RATE
HOP = CLIP // 2
ROUNDS = 9
OURS, OURS_SEGMENTS = "ShardReader, random order, clips", "ShardReader, random order, segments"
FLOOR, FLOOR_SEGMENTS = (
    "decoding alone, from memory, clips",
    "decoding alone, from memory, segments",
)
RATE_OF_FLOOR = Target(at_least=0.85)


def run(quick: bool) -> Measurement:
    """Measure one crop of every clip of a corpus that lies in the page cache, one thread."""
    bench = _Bench(_songs())
    variants = [
        Variant(OURS, "ours", bench.clips),
        Variant(FLOOR, "floor", bench.clips_alone),
        Variant("webdataset, the same crops in its own order, clips", "library", bench.webdataset),
        Variant("as training examples (pairs, powers, stacking)", "other", bench.examples),
        Variant(OURS_SEGMENTS, "other", bench.segments),
        Variant(FLOOR_SEGMENTS, "floor", bench.segments_alone),
    ]
    rows = in_turns(variants, 1 if quick else ROUNDS, "processor")
    count = len(bench.starts)
    crop = tuple(1000 * seconds / count for seconds in rows[0].seconds)
    return Measurement(
        amount=count,
        unit=f"crops of {CROP // RATE} s",
        clock="processor",
        rows=rows,
        comparisons=tuple(
            # A rate is the other way round than a time.
            Comparison(
                what=f"rate of the reader, of the rate of decoding alone, {form}",
                over=floor, under=ours, target=RATE_OF_FLOOR,
            )
            for form, floor, ours in (
                ("clips", FLOOR, OURS), ("segments", FLOOR_SEGMENTS, OURS_SEGMENTS),
            )
        ),
        figures=(Figure(what="ours, clips, a crop", unit="ms", values=crop),),
    )  # fmt: skip


class _Bench:
    def __init__(self, songs: dict[str, Waveform]) -> None:
        home = workplace() / "reading"
        forms = {name: Form(RATE, CLIP, name) for name in ("clips", "segments")}
        self._readers = {
            name: ShardReader(write_corpus(home / name, songs, form))
            for name, form in forms.items()
        }
        self._tar = Corpus(home / "clips").shard("0000", 0)
        clips = self._readers["clips"]
        draw = np.random.default_rng(0)
        self.starts = draw.integers(CLIP - CROP + 1, size=len(clips)).tolist()
        self._order = draw.permutation(len(clips)).tolist()
        self._whole = _audio(self._tar)
        pieces = _audio(Corpus(home / "segments").shard("0000", 0))
        firsts = self._readers["segments"].clips._firsts.tolist()
        self._pieces = [pieces[first : first + 2] for first in firsts]
        data = ClipsData(batch_size=1, segment_seconds=CROP / RATE)
        self._pairs = ClipPairs(clips, np.arange(len(clips)), data, seed=0)

    def clips(self) -> None:
        self._read("clips")

    def segments(self) -> None:
        self._read("segments")

    def examples(self) -> None:
        for number in range(len(self._pairs)):
            self._pairs.example(number)

    def clips_alone(self) -> None:
        for clip in self._order:
            start = self.starts[clip]
            _decode(self._whole[clip], start, start + CROP)

    def segments_alone(self) -> None:
        for clip in self._order:
            start, (first, second) = self.starts[clip], self._pieces[clip]
            parts = [
                _decode(first, start, HOP),
                _decode(second, 0, start + CROP - HOP),
            ]
            np.concatenate(parts, axis=1)

    def webdataset(self) -> None:
        samples = webdataset.WebDataset(str(self._tar), shardshuffle=False, empty_check=False)
        for start, sample in zip(self.starts, samples, strict=True):
            _decode(sample["flac"], start, start + CROP)

    def _read(self, form: str) -> None:
        reader = self._readers[form]
        for clip in self._order:
            reader.read(clip, self.starts[clip], CROP)


def _decode(audio: bytes, start: int, stop: int) -> Waveform:
    with soundfile.SoundFile(io.BytesIO(audio)) as stream:
        stream.seek(start)
        waveform: Waveform = stream.read(stop - start, dtype="float32", always_2d=True).T
    return waveform


def _audio(tar: Path) -> list[bytes]:
    with tarfile.open(tar) as members:
        sound = [member for member in members if member.name.endswith(".flac")]
        return [members.extractfile(member).read() for member in sound]  # type: ignore[union-attr]


def _songs() -> dict[str, Waveform]:
    """Return the archive's songs that are at the corpus's rate."""
    songs = {}
    with zipfile.ZipFile(music().archive) as archive:
        for name in archive.namelist():
            if not name.endswith(".mp3"):
                continue
            sound, rate = soundfile.read(io.BytesIO(archive.read(name)), dtype="float32")
            if rate == RATE and sound.ndim == 2:
                songs[Path(name).stem] = sound.T
    return songs


BENCHMARK = Benchmark(
    name="reading",
    title="Reading shards",
    words=f"""\
One random crop of {CROP // RATE} s from each stereo FLAC clip of {CLIP // RATE} s, one thread, in
processor time, from a corpus that lies in the page cache. *Clips* and *segments* are the two forms
of storage. Every variant decodes only what its crop needs; webdataset reads the clips in their
order in the shard, the reader in random order. Decoding alone has the files in memory.""",
    omitted="disks and networks; several threads; an index of millions of clips.",
    run=run,
)
