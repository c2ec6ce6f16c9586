"""One track in a process of its own: whatever is wrong with it costs that track, and is named."""

import ctypes
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.archives.sources import Extent, Source
from pipelines.config import ClipConfig, FilterConfig, FmaConfig, ShardConfig
from pipelines.packing.clips import Cutter, piece_seconds
from pipelines.packing.pack import pack_units
from pipelines.packing.process_track import TrackResult, TrackTask, process_track
from pipelines.packing.staging_file import ClipWriter, Group, PieceEncoder, StagingFile
from storage.audio.wav_headers import Samples
from storage.audio.waveforms import Codec, Waveform, quantise
from storage.records import LedgerRow, Track
from tests.pipelines.packing.corpora import CONFIG, begin, contents
from tests.pipelines.packing.damage import ailments
from tests.range_server import Fault, RangeServer
from tests.synthesised import FMA_TRACKS, Archives, as_file, decoded, fma_songs, tune

LOW = 1000
"""Hz: a rate at which minutes of sound are small."""


def task_of(folder: Path, data: bytes, staging: IO[bytes], config: FmaConfig = CONFIG) -> TrackTask:
    path = folder / "song.mp3"
    path.write_bytes(data)
    track = Track(id="000002", member=path.name, bytes=len(data))
    extent = Extent(path, 0, len(data))
    return TrackTask(track, extent, config, Path(f"/proc/self/fd/{staging.fileno()}"), 7, folder)


@pytest.mark.parametrize("ailment", ailments())
def test_known_ailments_have_known_ends(tmp_path: Path, ailment: str) -> None:
    data, outcome, reason = ailments()[ailment]
    with tempfile.TemporaryFile(dir=tmp_path) as staging:
        result = process_track(task_of(tmp_path, data, staging))
    assert (result.row.outcome, result.row.reason) == (outcome, reason)
    assert bool(result.groups) == (outcome == "kept")
    extents = [extent for group in result.groups for extent in group.samples]
    assert result.end == max([extent.offset + extent.bytes for extent in extents], default=7)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["song.mp3"]


def test_a_damaged_song_is_decoded_twice_and_staged_once(tmp_path: Path) -> None:
    """The first decoding's clips are staged, too; only the better one's count."""
    data = ailments()["garbage in the middle"][0]
    sounds = []
    for start in (0, 5000):
        with tempfile.TemporaryFile(dir=tmp_path) as staging:
            result = process_track(task_of(tmp_path, data, staging)._replace(start=start))
            extents = [extent for group in result.groups for extent in group.samples]
            assert [extent.key for extent in extents] == [f"t000002_c{n:04d}" for n in range(3)]
            sounds.append([os.pread(staging.fileno(), p.bytes, p.offset) for p in extents])
    assert sounds[0] == sounds[1]
    assert decoded(sounds[0][2]).shape == (2, 441_000)


def test_the_official_rule_takes_back_what_was_put_aside(tmp_path: Path) -> None:
    sound = tune(40.0)
    sound[:, 25 * 44_100 : 36 * 44_100] = 0
    config = CONFIG.override(["filters.silence=official"])
    with tempfile.TemporaryFile(dir=tmp_path) as staging:
        result = process_track(task_of(tmp_path, as_file(sound, kind="WAV"), staging, config))
    assert (result.row.outcome, result.row.reason, result.row.clips_dropped) == (
        "filtered", "silent", 8,
    )  # fmt: skip
    assert result.row.detail == "10 of 20 parts of the 10 s from 20 s on are digital silence"
    assert (result.groups, result.end) == ([], 7)


@pytest.mark.parametrize("codec", ["flac", "wav"])
def test_clips_of_the_official_rule_are_where_they_say(tmp_path: Path, codec: str) -> None:
    sound = tune(21.7)
    config = CONFIG.override(["filters.silence=official", f"shards.codec={codec}"])
    with tempfile.TemporaryFile(dir=tmp_path) as staging:
        data = as_file(sound, kind="WAV")
        result = process_track(task_of(tmp_path, data, staging, config))
        extents = [extent for group in result.groups for extent in group.samples]
        files = [os.pread(staging.fileno(), p.bytes, p.offset) for p in extents]
    assert [extent.key for extent in extents] == [f"t000002_c{n:04d}" for n in range(5)]
    assert [extent.info["start_seconds"] for extent in extents] == [0, 5, 10, 11.7, 11.7]
    assert (result.row.clips, result.row.clips_dropped) == (5, 0)
    assert (result.row.kept_seconds, result.row.seconds) == (21.7, 21.7)
    exact = decoded(data)
    for extent, file in zip(extents, files, strict=True):
        start = round(extent.info["start_seconds"] * 44_100)
        np.testing.assert_array_equal(decoded(file), exact[:, start : start + 441_000])


class Heard(NamedTuple):
    groups: list[Group]
    files: dict[str, Samples]


def put_aside(sound: Waveform, clips: ClipConfig, shards: ShardConfig) -> Heard:
    """Cut sound and put its clips aside; return the groups, and every sample decoded."""
    cutter = Cutter(LOW, clips, FilterConfig(silent_seconds=0))
    with tempfile.TemporaryFile() as stream:
        with StagingFile(Path(f"/proc/self/fd/{stream.fileno()}"), 0) as staging:
            writer = ClipWriter("000002", staging, PieceEncoder(LOW, shards), shards)
            for clip in cutter.take(sound):
                if clip.kept:
                    writer.write(clip, lambda *_: {})
        extents = [place for group in writer.groups for place in group.samples]
        data = {p.key: os.pread(stream.fileno(), p.bytes, p.offset) for p in extents}
    files = {key: quantise(decoded(audio)) for key, audio in data.items()}
    return Heard(writer.groups, files)


@settings(max_examples=40, deadline=None)
@given(
    loud=st.lists(st.booleans(), max_size=40),
    hop=st.integers(1, 3),
    overlap=st.integers(1, 3),
    codec=st.sampled_from(["flac", "wav"]),
)
def test_segments_and_clips_hold_the_same_sound(
    loud: list[bool], hop: int, overlap: int, codec: Codec
) -> None:
    """Whatever is silent: a clip drops where any of its seconds is."""
    clips = ClipConfig(seconds=hop * overlap, hop_seconds=hop)
    rng = np.random.default_rng(len(loud))
    sound = rng.uniform(-1.1, 1.1, (2, len(loud) * LOW)) * np.repeat(np.array(loud, float), LOW)
    sound = sound.astype(np.float32)
    whole = put_aside(sound, clips, ShardConfig(codec=codec))
    parts = put_aside(sound, clips, ShardConfig(codec=codec, storage="segments"))
    joined = {
        clip.key: np.concatenate(
            [parts.files[p.key] for p in group.samples[clip.first : clip.first + overlap]]
        )
        for group in parts.groups
        for clip in group.clips
    }
    starts = range(0, len(loud) - clips.seconds + 1, hop)
    kept = [n for n, at in enumerate(starts) if all(loud[at : at + clips.seconds])]
    assert list(joined) == list(whole.files) == [f"t000002_c{number:04d}" for number in kept]
    exact = quantise(sound)
    for number, key in zip(kept, joined, strict=True):
        span = slice(number * hop * LOW, (number * hop + clips.seconds) * LOW)
        np.testing.assert_array_equal(joined[key], exact[span])
        np.testing.assert_array_equal(whole.files[key], exact[span])


def test_runs_are_as_long_as_they_can_be_and_hold_nothing_else() -> None:
    clips = ClipConfig(seconds=2, hop_seconds=1)
    loud = [True, True, True, False, True, True, False, True]
    sound = np.repeat(np.array([loud, loud], np.float32), LOW, axis=1)
    heard = put_aside(sound, clips, ShardConfig(storage="segments"))
    assert piece_seconds(clips) == 1
    blocks = [[place.key[-1] for place in group.samples] for group in heard.groups]
    assert blocks == [["0", "1", "2"], ["4", "5"]]
    extents = [[(clip.key[-1], clip.first) for clip in group.clips] for group in heard.groups]
    assert extents == [[("0", 0), ("1", 1)], [("4", 0)]]
    info = heard.groups[1].samples[1].info
    assert (info["block"], info["start_seconds"], info["power_db"]) == (5, 5, [0.0])


def ill_fated(wanted: TrackTask) -> TrackResult:
    """Take most tracks in, and meet the worst decoders with the others."""
    match wanted.track.id:
        case "000003":
            ctypes.string_at(0)
        case "000004":
            time.sleep(600)
        case "000011":
            np.ones(1 << 30)
        case "000010":
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "of a tag")
    return process_track(wanted)


def rows_of(rows: dict[str, LedgerRow]) -> dict[str, str]:
    return {track: row.reason or "kept" for track, row in rows.items()}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_worst_decoders_cost_their_track_alone(
    tmp_path: Path, archives: Archives, workers: int
) -> None:
    config = CONFIG.override(["timeout_seconds=4"])
    study = begin(tmp_path, archives, config)
    marks = study.pack(workers, ill_fated)
    assert rows_of(study.rows()) == {
        "000002": "kept",
        "000003": "crash",
        "000004": "timeout",
        "000005": "rate_below_44100",
        "000010": "crash",
        "000011": "memory",
        "099134": "empty",
        "108925": "not_audio",
        "133297": "truncated",
    }
    assert study.rows()["000003"].detail == "was ended by SIGSEGV"
    assert study.rows()["000010"].detail.startswith("UnicodeDecodeError")
    facts = [mark.facts for mark in marks]
    accounted = [
        fact["kept"] + sum(fact["filtered"].values()) + sum(fact["quarantined"].values())
        for fact in facts
    ]
    assert sum(accounted) == FMA_TRACKS
    assert len(study.reader(marks)) == 3


@pytest.fixture
def server(archives: Archives) -> Iterator[RangeServer]:
    with RangeServer({"fma_tiny.zip": archives.archive}) as server:
        yield server


def test_a_server_serves_as_well_as_a_disk(
    tmp_path: Path, archives: Archives, server: RangeServer
) -> None:
    here = begin(tmp_path / "here", archives)
    here.pack()
    there = begin(tmp_path / "there", archives)
    source = Source(
        location=server.url("fma_tiny.zip"),
        bytes=archives.archive.stat().st_size,
        etag=server.etag("fma_tiny.zip"),
    )
    server.faults = [Fault(cut=5000), Fault(status=503), Fault(reset=True, cut=100)]
    pack_units(there.requests_of(source), 2)
    assert contents(there.corpus) == contents(here.corpus)
    assert not server.faults
    assert len(server.gets()) > len(fma_songs())
    assert not list(there.corpus.root.glob(".*"))
