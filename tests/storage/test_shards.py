"""Shards: webdataset's own format, the same bytes for the same samples, damage found."""

import gc
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.audio import Codec, decode_window, encode
from storage.errors import IntegrityError, ManifestError
from storage.files import write_json
from storage.layout import Corpus, shard_offsets
from storage.records import plain
from storage.shards import ShardIndex, ShardReader, ShardWriter, describe
from tests.synthesised import RATE, tune

SECONDS = 0.2
FRAMES = round(SECONDS * RATE)


def sounds(count: int) -> dict[str, bytes]:
    return {f"t{n:06d}_c0000": encode(tune(SECONDS, 200.0 + n), RATE) for n in range(count)}


def write(
    folder: Path, samples: dict[str, bytes], max_bytes: int = 10**9, codec: Codec = "flac"
) -> Corpus:
    corpus = Corpus(folder)
    writer = ShardWriter(lambda number: corpus.shard("0000", number), max_bytes, codec)
    for key, audio in samples.items():
        writer.add(key, audio, {"track": key[1:7], "split": "training", "title": "Ü"})
    write_index(corpus, writer.close(), codec)
    return corpus


def write_index(corpus: Corpus, shards: Sequence[Path], codec: Codec = "flac") -> None:
    index = ShardIndex(
        sample_rate=RATE,
        clip_frames=FRAMES,
        codec=codec,
        shards=tuple(describe(path) for path in shards),
    )
    write_json(corpus.index, plain(index))


# webdataset leaves its file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_same_samples(tmp_path: Path) -> None:
    samples = sounds(5)
    corpus = write(tmp_path, samples)
    read = list(
        webdataset.WebDataset(str(corpus.shard("0000", 0)), shardshuffle=False, empty_check=False)
    )
    assert [sample["__key__"] for sample in read] == list(samples)
    gc.collect()
    for sample in read:
        assert sample["flac"] == samples[sample["__key__"]]
        assert json.loads(sample["json"])["track"] == sample["__key__"][1:7]


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for name in ("first", "second"):
        corpus = write(tmp_path / name, sounds(4))
        files = sorted(corpus.shards.iterdir())
        digests.add(hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest())
    assert len(digests) == 1


def test_a_full_shard_is_followed_by_another(tmp_path: Path) -> None:
    samples = sounds(7)
    size = max(len(audio) for audio in samples.values())
    corpus = write(tmp_path, samples, max_bytes=3 * (size + 4 * 512))
    shards = sorted(corpus.shards.glob("*.tar"))
    assert [path.name for path in shards] == ["0000-00.tar", "0000-01.tar", "0000-02.tar"]
    reader = ShardReader(corpus.index)
    assert [entry.key for entry in reader.entries] == list(samples)
    for entry in reader.entries:
        expected = decode_window(samples[entry.key], entry.key)
        np.testing.assert_array_equal(reader.read(entry), expected)


def test_a_writer_given_nothing_writes_nothing(tmp_path: Path) -> None:
    corpus = write(tmp_path, {})
    assert not corpus.shards.exists()
    assert ShardReader(corpus.index).entries == []


def test_wav_shards_read_alike(tmp_path: Path) -> None:
    samples = {"t000001_c0000": encode(tune(SECONDS), RATE, "wav")}
    reader = ShardReader(write(tmp_path, samples, codec="wav").index)
    assert reader.read(reader.entries[0]).shape == (2, FRAMES)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_window_of_any_clip_is_the_clips_own(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    samples = sounds(3)
    reader = ShardReader(write(tmp_path_factory.mktemp("corpus"), samples).index)
    entry = data.draw(st.sampled_from(reader.entries))
    start = data.draw(st.integers(0, FRAMES - 1))
    frames = data.draw(st.integers(1, FRAMES - start))
    whole = decode_window(samples[entry.key], entry.key)
    np.testing.assert_array_equal(
        reader.read(entry, start, frames), whole[:, start : start + frames]
    )


@settings(max_examples=40, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_an_altered_byte_of_sound_is_found(
    place: float, flip: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    corpus = write(tmp_path_factory.mktemp("corpus"), sounds(1))
    reader = ShardReader(corpus.index)
    entry = reader.entries[0]
    shard = corpus.shard("0000", 0)
    altered = bytearray(shard.read_bytes())
    altered[entry.offset + int(place * entry.bytes)] ^= flip
    shard.write_bytes(altered)
    with pytest.raises(IntegrityError, match=r"t000000_c0000 in shard .* is damaged"):
        reader.read(entry)


def test_a_cut_or_vanished_shard_is_named(tmp_path: Path) -> None:
    corpus = write(tmp_path, sounds(2))
    reader = ShardReader(corpus.index)
    shard = corpus.shard("0000", 0)
    shard.write_bytes(shard.read_bytes()[: reader.entries[1].offset + 10])
    with pytest.raises(IntegrityError, match="t000001_c0000"):
        reader.read(reader.entries[1])
    shard.unlink()
    with pytest.raises(IntegrityError, match=r"0000-00\.tar cannot be read"):
        reader.read(reader.entries[0])


def test_an_index_that_disagrees_with_a_sidecar_is_refused(tmp_path: Path) -> None:
    corpus = write(tmp_path, sounds(2))
    sidecar = shard_offsets(corpus.shard("0000", 0))
    write_json(sidecar, json.loads(sidecar.read_text())[:1])
    with pytest.raises(ManifestError, match=r"0000-00\.tar lists 1 clips"):
        ShardReader(corpus.index)
