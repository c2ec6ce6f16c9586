"""Shards: webdataset's own format, the same bytes for the same samples, groups never divided."""

import gc
import json
import math
import tarfile
from functools import partial
from pathlib import Path

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from storage.audio.waveforms import Waveform
from storage.errors import IntegrityError, ManifestError
from storage.home.layout import Corpus, shard_offsets
from storage.shards.writer import ClipStart, Sample, ShardIndex, ShardWriter, Sidecar, Written
from tests.shards import Form, cut_song, describe, digest, write_corpus
from tests.synthesised import tune

RATE = 8_000
CLIP = 1_600
CLIPS = Form(RATE, CLIP)
FORMS = pytest.mark.parametrize(
    "form", [CLIPS, Form(RATE, CLIP, "segments")], ids=["clips", "segments"]
)


def songs(count: int, seconds: float = 0.5) -> dict[str, Waveform]:
    return {f"{n:06d}": tune(seconds, 200.0 + n, RATE) for n in range(count)}


def write_groups(folder: Path, groups: list[list[int]], max_bytes: int) -> list[Written]:
    """Write groups of samples of these sizes."""
    with ShardWriter(partial(Corpus(folder).shard, "0000"), max_bytes, "wav") as writer:
        for number, sizes in enumerate(groups):
            samples = [
                Sample.of(f"g{number:03d}_{n:03d}", bytes(size), {}) for n, size in enumerate(sizes)
            ]
            writer.add(f"{number:06d}", "training", samples, [ClipStart(f"c{number}", 0)])
        return writer.close()


# webdataset leaves its file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@FORMS
def test_webdataset_reads_the_same_samples(tmp_path: Path, form: Form) -> None:
    music = songs(3)
    written = [sample for track, song in music.items() for sample in cut_song(track, song, form)]
    write_corpus(tmp_path, music, form)
    shard = str(Corpus(tmp_path).shard("0000", 0))
    read = list(webdataset.WebDataset(shard, shardshuffle=False, empty_check=False))
    gc.collect()
    assert [sample["__key__"] for sample in read] == [sample.key for sample in written]
    for theirs, ours in zip(read, written, strict=True):
        assert theirs["flac"] == ours.read()
        assert json.loads(theirs["json"]) == ours.info


@FORMS
def test_the_same_samples_give_the_same_bytes(tmp_path: Path, form: Form) -> None:
    for name in ("first", "second"):
        write_corpus(tmp_path / name, songs(4), form)
    assert digest(tmp_path / "first") == digest(tmp_path / "second")


def test_members_tell_nothing_of_who_wrote_them_when(tmp_path: Path) -> None:
    write_corpus(tmp_path, songs(1), CLIPS)
    with tarfile.open(Corpus(tmp_path).shard("0000", 0)) as tar:
        members = tar.getmembers()
    assert {member.name.partition(".")[2] for member in members} == {"flac", "json"}
    assert {
        (m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode, len(m.pax_headers)) for m in members
    } == {(0, 0, 0, "", "", 0o444, 0)}


@FORMS
def test_a_sidecar_finds_every_sample(tmp_path: Path, form: Form) -> None:
    write_corpus(tmp_path, songs(2), form)
    shard = Corpus(tmp_path).shard("0000", 0)
    sidecar = Sidecar.parse(shard_offsets(shard).read_bytes(), shard.name)
    with tarfile.open(shard) as tar:
        audio = [member for member in tar.getmembers() if member.name.endswith(".flac")]
    assert list(sidecar.offsets) == [member.offset_data for member in audio]
    assert list(sidecar.sizes) == [member.size for member in audio]


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.lists(st.integers(1, 3000), min_size=1, max_size=4), max_size=12),
    max_bytes=st.integers(1, 20_000),
)
def test_a_group_lies_in_one_shard(
    groups: list[list[int]], max_bytes: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    written = write_groups(tmp_path_factory.mktemp("corpus"), groups, max_bytes)
    found: list[tuple[str, int]] = []
    for number, shard in enumerate(written):
        with tarfile.open(shard.path) as tar:
            names = [member.name for member in tar.getmembers() if member.name.endswith(".wav")]
            content = sum(512 + -(-member.size // 512) * 512 for member in tar.getmembers())
        assert len(names) == shard.samples
        here = list(dict.fromkeys(name[:4] for name in names))
        assert len(here) == shard.clips
        assert content <= max_bytes or len(here) == 1
        found += [(name, number) for name in here]
    # Every group once, in order: none is divided.
    assert [name for name, _ in found] == [f"g{number:03d}" for number in range(len(groups))]


def test_a_shard_is_filled_before_another_is_opened(tmp_path: Path) -> None:
    # A sample of 100 bytes and its JSON take two headers and two blocks.
    each = 4 * 512
    written = write_groups(tmp_path, [[100]] * 7, 3 * each)
    assert [shard.path.name for shard in written] == ["0000-00.tar", "0000-01.tar", "0000-02.tar"]
    assert [shard.clips for shard in written] == [3, 3, 1]


def test_a_writer_given_nothing_writes_nothing(tmp_path: Path) -> None:
    assert write_groups(tmp_path, [], 10**6) == []
    assert not list(tmp_path.iterdir())


def test_an_error_leaves_no_shard(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path)
    shrunk = Sample("s0", {}, 100, lambda: bytes(99))
    with (
        pytest.raises(IntegrityError, match="s0 has 99 bytes, not 100"),
        ShardWriter(partial(corpus.shard, "0000"), 10**6, "wav") as writer,
    ):
        writer.add("000001", "training", [Sample.of("s1", b"x", {}), shrunk], [])
    assert not list(corpus.shards.iterdir())


@pytest.mark.parametrize("key", ["a.b", "a/b", "", "a b", "é"])
def test_a_key_that_webdataset_would_misread_is_our_mistake(tmp_path: Path, key: str) -> None:
    writer = ShardWriter(partial(Corpus(tmp_path).shard, "0000"), 10**6, "wav")
    with pytest.raises(AssertionError):
        writer.add("000001", "training", [Sample.of(key, b"x", {})], [])


@pytest.mark.parametrize("first", [-1, 1, 2])
def test_a_clip_beyond_its_group_is_our_mistake(tmp_path: Path, first: int) -> None:
    writer = ShardWriter(partial(Corpus(tmp_path).shard, "0000"), 10**6, "wav", 2)
    pair = [Sample.of(f"s{n}", b"x", {}) for n in range(2)]
    with pytest.raises(AssertionError):
        writer.add("000001", "training", pair, [ClipStart("c", first)])


def test_an_index_of_clips_that_samples_do_not_make_is_refused() -> None:
    form = {"sample_rate": RATE, "clip_frames": 1000, "codec": "flac", "shards": ()}
    segments = ShardIndex(storage="segments", sample_frames=250, **form)  # type: ignore[arg-type]
    assert segments.samples_per_clip == 4
    for storage, frames in (("segments", 300), ("clips", 500)):
        with pytest.raises(ValidationError):
            ShardIndex(storage=storage, sample_frames=frames, **form)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"offsets": [512]},
        {"offsets": [512, 1000]},
        {"offsets": [512, 512]},
        {"offsets": [512, 1024]},
        {"offsets": [513, 2048]},
        {"clips": ["a"]},
        {"firsts": [0]},
        {"of_tracks": [0, 0, 0]},
        {"firsts": [-1, 1]},
        {"of_tracks": [-1, 0]},
        {"firsts": [0, 2]},
        {"of_tracks": [0, 1]},
        {"splits": []},
        {"crcs": [1, "x"]},
        {"keys": []},
    ],
    ids=str,
)
def test_a_malformed_sidecar_names_its_shard(change: dict[str, object]) -> None:
    sound = {
        "offsets": [512, 2048], "sizes": [600, 600], "crcs": [1, 2], "clips": ["a", "b"],
        "firsts": [0, 1], "of_tracks": [0, 0], "tracks": ["000001"], "splits": ["training"],
    }  # fmt: skip
    assert Sidecar.parse(json.dumps(sound).encode(), "0000-00.tar").sizes == (600, 600)
    with pytest.raises(ManifestError, match=r"sidecar of shard 0000-00\.tar is malformed"):
        Sidecar.parse(json.dumps(sound | change).encode(), "0000-00.tar")


def test_samples_may_touch_but_not_overlap() -> None:
    columns = {
        "offsets": [512, 1536], "crcs": [1, 2], "clips": [], "firsts": [], "of_tracks": [],
        "tracks": [], "splits": [],
    }  # fmt: skip
    assert Sidecar.model_validate({**columns, "sizes": [1024, 5]}).sizes == (1024, 5)
    with pytest.raises(ValidationError, match="overlap"):
        Sidecar.model_validate({**columns, "sizes": [1025, 5]})


def test_an_index_counts_its_shards(tmp_path: Path) -> None:
    written = write_groups(tmp_path, [[700, 20], [5], [9, 9, 9]], 2500)
    index = ShardIndex(
        storage="clips", sample_rate=RATE, clip_frames=CLIP, sample_frames=CLIP, codec="wav",
        shards=tuple(map(describe, written)),
    )  # fmt: skip
    assert len(index.shards) > 1
    assert index.clips == 3
    assert index.bytes == sum(one.path.stat().st_size for one in written)


def test_notes_are_plain_text_and_hold_no_number_that_json_lacks(tmp_path: Path) -> None:
    with ShardWriter(partial(Corpus(tmp_path).shard, "0000"), 10**6, "wav") as writer:
        writer.add("000001", "training", [Sample.of("a", b"x", {"title": "Über", "n": 1})], [])
        with pytest.raises(ValueError, match="JSON"):
            writer.add("000001", "training", [Sample.of("b", b"x", {"power": math.nan})], [])
        written = writer.close()
    assert '{"n":1,"title":"Über"}'.encode() in written[0].path.read_bytes()
