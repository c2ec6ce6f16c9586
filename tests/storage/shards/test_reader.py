"""Reading clips: any window of any clip is exact, in either form; any damage is named."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.audio.waveforms import Codec, Waveform, encode
from storage.errors import IntegrityError, ManifestError
from storage.files import hash_file, read_json, write_json
from storage.home.layout import Corpus, shard_offsets
from storage.shards.reader import ShardReader
from storage.shards.writer import Sidecar
from storage.stores.base import FolderStore
from tests.shards import Form, write_corpus
from tests.synthesised import decoded, tune

RATE = 8_000
CLIP = 1_600
SONGS = {f"{n:06d}": tune(0.35 + 0.1 * n, 200.0 + n, RATE) for n in range(4)}
FORMS = [
    Form(RATE, CLIP, storage, codec, 8_000)
    for storage in ("clips", "segments")
    for codec in ("flac", "wav")
]
EITHER_FORM = pytest.mark.parametrize("form", FORMS, ids=lambda form: "-".join(form[2:4]))


def plainly_cut(codec: Codec) -> dict[str, Waveform]:
    """Return every clip's sound by its key: as decoded whole, then sliced."""
    clips = {}
    for track, song in SONGS.items():
        stored = decoded(encode(song, RATE, codec))
        for number, start in enumerate(range(0, song.shape[1] - CLIP + 1, CLIP // 2)):
            clips[f"{track}-{number}"] = stored[:, start : start + CLIP]
    return clips


def names(reader: ShardReader) -> list[str]:
    clips = map(reader.clip, range(len(reader)))
    return [f"{clip.track}-{int(clip.key[-4:])}" for clip in clips]


@pytest.fixture(scope="module", params=FORMS, ids=lambda form: "-".join(form[2:4]))
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), SONGS, request.param)


def test_every_clip_is_there_once_in_order(corpus: Path) -> None:
    reader = ShardReader(corpus)
    assert len(reader.index.shards) > 1
    assert names(reader) == list(plainly_cut("flac"))
    assert [reader.clips.tracks[n] for n in range(len(reader))] == [
        reader.clips.track_names.index(reader.clip(n).track) for n in range(len(reader))
    ]
    assert {reader.clip(n).split for n in range(len(reader))} == {"training"}
    shards = [reader.index.shards[reader.clips.shard_of(n)].name for n in range(len(reader))]
    assert shards == [reader.clip(n).shard for n in range(len(reader))]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_window_of_any_clip_is_the_clips_own(data: st.DataObject, corpus: Path) -> None:
    reader = ShardReader(corpus)
    number = data.draw(st.integers(0, len(reader) - 1))
    start = data.draw(st.integers(0, CLIP - 1))
    frames = data.draw(st.sampled_from([-1, 1, CLIP - start]) | st.integers(1, CLIP - start))
    whole = plainly_cut(reader.index.codec)[names(reader)[number]]
    stop = CLIP if frames < 0 else start + frames
    read = reader.read(number, start, frames)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, whole[:, start:stop])


class Watched(FolderStore):
    """A folder that notes what is read of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.ranges: list[tuple[int, int]] = []

    def read(self, name: str, start: int = 0, length: int = -1) -> bytes:
        self.ranges.append((start, length))
        return super().read(name, start, length)


@EITHER_FORM
def test_a_window_reads_once_and_only_the_samples_that_it_touches(
    tmp_path: Path, form: Form
) -> None:
    store = Watched(tmp_path)
    reader = ShardReader(write_corpus(tmp_path, SONGS, form), store)
    store.ranges.clear()
    first, second = reader.clips.samples(1, 0, 1)[0], reader.clips.samples(1, 0, 2)[-1]
    reader.read(1, 10, 20)
    reader.read(1)
    whole = second if form.storage == "segments" else first
    both = (first.offset, whole.offset + whole.size - first.offset)
    assert store.ranges == [(first.offset, first.size), both]


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_an_altered_byte_of_sound_is_found(
    place: float, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    reader = ShardReader(write_corpus(folder, SONGS, FORMS[2]))
    extents = reader.clips.samples(0, 0, 2)
    extent = extents[round(place)]
    shard = Corpus(folder).shard("0000", 0)
    altered = bytearray(shard.read_bytes())
    altered[extent.offset + int(place * extent.size)] ^= flip
    shard.write_bytes(altered)
    with pytest.raises(IntegrityError, match=r"t000000_c0000 in shard .*0000-00\.tar is damaged"):
        reader.read(0)


@EITHER_FORM
def test_a_shard_that_is_cut_or_gone_is_named(tmp_path: Path, form: Form) -> None:
    index = write_corpus(tmp_path, SONGS, form)
    reader = ShardReader(index)
    shard = Corpus(tmp_path).shard("0000", 0)
    shard.write_bytes(shard.read_bytes()[: reader.clips.samples(0, 0, 1)[0].offset + 10])
    with pytest.raises(IntegrityError, match=r"t000000_c0000 in shard .*0000-00\.tar .*ends"):
        reader.read(0)
    with pytest.raises(IntegrityError, match=r"0000-00\.tar has \d+ bytes, not \d+"):
        ShardReader(index)
    shard.unlink()
    with pytest.raises(IntegrityError, match=r"t000000_c0000 in shard .*0000-00\.tar .*missing"):
        reader.read(0)
    with pytest.raises(ManifestError, match=r"0000-00\.tar is missing; run the study again"):
        ShardReader(index)


def rewrite_sidecar(folder: Path, tell_index: bool, **columns: object) -> None:
    """Alter the first shard's sidecar, and the index with it if that is told."""
    path, index = shard_offsets(Corpus(folder).shard("0000", 0)), Corpus(folder).index
    path.write_text(json.dumps({**read_json(path), **columns}))
    if tell_index:
        listed = read_json(index)
        listed["shards"][0] |= {
            "sidecar_bytes": path.stat().st_size,
            "sidecar_sha256": hash_file(path),
        }
        write_json(index, listed)


def test_a_sidecar_that_is_not_the_indexs_is_refused(tmp_path: Path) -> None:
    index = write_corpus(tmp_path, SONGS, FORMS[0])
    path = shard_offsets(Corpus(tmp_path).shard("0000", 0))
    crcs = Sidecar.parse(path.read_bytes(), "0000-00.tar").crcs
    rewrite_sidecar(tmp_path, False, crcs=[1, *crcs[1:]])
    with pytest.raises(IntegrityError, match=r"sidecar of shard 0000-00\.tar .*run the study"):
        ShardReader(index)
    path.unlink()
    with pytest.raises(ManifestError, match=r"0000-00\.idx\.json is missing"):
        ShardReader(index)


def test_counts_that_disagree_are_refused(tmp_path: Path) -> None:
    index = write_corpus(tmp_path, SONGS, FORMS[2])
    listed = read_json(index)
    for name in ("clips", "samples"):
        wrong = json.loads(json.dumps(listed))
        wrong["shards"][0][name] += 1
        write_json(index, wrong)
        with pytest.raises(ManifestError, match=r"0000-00\.tar lists \d+ clips and \d+ samples"):
            ShardReader(index)


def test_a_sidecar_that_points_past_its_shard_is_refused(tmp_path: Path) -> None:
    index = write_corpus(tmp_path, SONGS, FORMS[2])
    sidecar = read_json(shard_offsets(Corpus(tmp_path).shard("0000", 0)))
    last = len(sidecar["offsets"]) - 1
    for columns in (
        {"offsets": [*sidecar["offsets"][:-1], 512 * 10**6]},
        {"firsts": [*sidecar["firsts"][:-1], last]},
    ):
        rewrite_sidecar(tmp_path, True, **{**sidecar, **columns})
        with pytest.raises(ManifestError, match=r"0000-00\.tar speaks of sound beyond"):
            ShardReader(index)


def test_a_track_of_two_splits_is_refused(tmp_path: Path) -> None:
    index = write_corpus(tmp_path, SONGS, Form(RATE, CLIP, max_bytes=1))
    assert ShardReader(index).clip(1).track == "000000"
    rewrite_sidecar(tmp_path, True, splits=["test"])
    with pytest.raises(ManifestError, match="puts track 000000 into the training split"):
        ShardReader(index)


@pytest.mark.parametrize("change", [{"sample_rate": 44_100}, {"clip_frames": 800}], ids=str)
@pytest.mark.parametrize("form", FORMS[:2], ids=lambda form: form.codec)
def test_sound_that_is_not_as_the_index_says_is_refused(
    tmp_path: Path, form: Form, change: dict[str, int]
) -> None:
    index = write_corpus(tmp_path, SONGS, form)
    listed = read_json(index) | change
    write_json(index, listed | {"sample_frames": listed["clip_frames"]})
    with pytest.raises(IntegrityError, match=r"t000000_c0000 in shard 0000-00\.tar is not as the"):
        ShardReader(index).read(0, 0, 100)


def test_an_index_that_is_none_is_named(tmp_path: Path) -> None:
    index = write_corpus(tmp_path, SONGS, FORMS[0])
    write_json(index, {**read_json(index), "shards": [{"name": "0000-00.tar"}]})
    with pytest.raises(ManifestError, match=r"index\.json is no index of shards"):
        ShardReader(index)
