"""A ledger row keeps what was measured of a track, whatever became of it."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

from pipelines.config import FmaConfig
from pipelines.measures.table import FIGURES, MEASURES
from pipelines.packing.process_track import TrackResult, process_track
from storage.audio.decoders import files, pour
from storage.records import LedgerRow
from tests.pipelines.measures.sounds import found
from tests.pipelines.packing.corpora import CONFIG
from tests.pipelines.packing.test_process_track import task_of
from tests.synthesised import RATE, as_file, good_mp3, holed, tune, untagged

SEGMENTS = CONFIG.override(["shards.storage=segments"])


def result_of(folder: Path, data: bytes, config: FmaConfig = CONFIG) -> TrackResult:
    with tempfile.TemporaryFile(dir=folder) as staging:
        return process_track(task_of(folder, data, staging, config))


def row_of(folder: Path, data: bytes) -> LedgerRow:
    return result_of(folder, data).row


def digest_of(folder: Path, data: bytes, config: FmaConfig = CONFIG) -> str:
    """Return the sha256 of a track's row, its samples' sound and their JSON."""
    with tempfile.TemporaryFile(dir=folder) as staging:
        result = process_track(task_of(folder, data, staging, config))
        digest = hashlib.sha256(result.row.model_dump_json().encode())
        for sample in (sample for group in result.groups for sample in group.samples):
            digest.update(os.pread(staging.fileno(), sample.bytes, sample.offset))
            digest.update(json.dumps(sample.info, sort_keys=True).encode())
    return digest.hexdigest()


def test_a_hole_is_counted_and_placed(tmp_path: Path) -> None:
    row = row_of(tmp_path, holed(good_mp3()))
    assert (row.outcome, row.seconds, row.promise) == ("kept", 22.0, "exact")
    assert row.frames_promised == 22 * RATE
    [(start, length)] = row.losses
    assert 10.5 < start < 11.5
    assert row.frames_lost > 0
    assert length == pytest.approx(row.frames_lost / RATE, abs=0.001)
    assert row.stray_bytes > 1000


@pytest.mark.parametrize(
    ("data", "promise", "seconds"),
    [
        (good_mp3()[: len(good_mp3()) // 3], "exact", 22.0),
        (as_file(tune(22.0), kind="WAV")[:1_000_000], "exact", 22.0),
        (holed(untagged(good_mp3()), len(good_mp3()) // 4), "unknown", 0.0),
    ],
    ids=["MP3", "WAV", "untagged"],
)
def test_a_quarantined_track_keeps_its_measures(
    tmp_path: Path, data: bytes, promise: str, seconds: float
) -> None:
    row = row_of(tmp_path, data)
    assert (row.outcome, row.reason) == ("quarantined", "truncated")
    assert (row.sample_rate, row.channels, row.promise) == (RATE, 2, promise)
    assert row.frames_promised == seconds * RATE
    assert row.decoder
    assert abs(row.seconds * RATE + row.frames_lost - sum(b for _, b in row.losses) * RATE
               - 22 * RATE) < 4 * 1152  # fmt: skip


def test_what_never_said_how_long_it_is_promises_nothing(tmp_path: Path) -> None:
    row = row_of(tmp_path, untagged(good_mp3()))
    assert (row.outcome, row.promise, row.frames_promised) == ("kept", "unknown", 0)
    assert (row.frames_lost, row.losses) == (0, ())


@pytest.mark.parametrize("config", [CONFIG, SEGMENTS], ids=["clips", "segments"])
def test_each_sample_says_what_was_measured_of_its_seconds(
    tmp_path: Path, config: FmaConfig
) -> None:
    sound = tune(21.5)
    sound[:, 7 * RATE : 9 * RATE] = 0
    sound[:, 12 * RATE] = 1.0
    result = result_of(tmp_path, as_file(sound, kind="WAV"), config)
    assert result.row.outcome == "kept"
    every = result.row.by_second
    assert [len(values) for values in every.values()] == [22] * len(MEASURES)
    samples = [sample for group in result.groups for sample in group.samples]
    assert len(samples) == (3 if config is CONFIG else 4)
    for sample in samples:
        start, length = sample.info["start_seconds"], len(sample.info["power_db"])
        for name, values in every.items():
            assert tuple(sample.info[name]) == values[start : start + length]
    assert list(every["clipped_by_second"][11:14]) == [0, 2, 0]
    assert list(every["zeros_by_second"][6:10]) == [0.0, 1.0, 1.0, 0.0]


def test_the_whole_track_is_measured_its_tail_included(tmp_path: Path) -> None:
    sound = np.concatenate([tune(12.3), np.zeros((2, 2 * RATE), np.float32)], axis=1)
    row = row_of(tmp_path, as_file(sound, kind="WAV"))
    stored = np.rint(np.clip(sound, -1, 1) * 32_768) / 32_768
    expected = found(stored.astype(np.float32))
    assert (row.outcome, row.clips) == ("kept", 1)
    assert row.measures == expected["measures"]
    assert row.measures["trailing_zeros_seconds"] == pytest.approx(2.0, abs=0.01)
    assert {len(values) for values in row.by_second.values()} == {15}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (as_file(tune(6.0)), "too_short"),
        (as_file(0 * tune(12.0), kind="WAV"), "silent"),
        (good_mp3()[: len(good_mp3()) // 3], "truncated"),
    ],
)
def test_what_is_left_out_after_decoding_keeps_its_measures(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    row = row_of(tmp_path, data)
    assert row.reason == reason
    assert list(row.measures) == [figure.name for figure in FIGURES]
    assert {len(values) for values in row.by_second.values()} == {int(np.ceil(row.seconds))}


def test_what_stops_in_the_middle_keeps_what_was_measured_until_then(tmp_path: Path) -> None:
    row = result_of(tmp_path, good_mp3(), CONFIG.override(["track_seconds=20"])).row
    assert (row.outcome, row.reason) == ("quarantined", "too_long")
    assert 14 <= len(row.by_second["loudness_lufs_by_second"]) <= 20


def test_what_was_never_decoded_has_no_measures(tmp_path: Path) -> None:
    row = row_of(tmp_path, as_file(tune(12.0, rate=22_050), 22_050))
    assert (row.reason, row.measures, row.by_second) == ("rate_below_44100", {}, {})
    assert "measures" not in row.model_dump_json()


def test_measures_can_be_left_out(tmp_path: Path) -> None:
    result = result_of(tmp_path, good_mp3(), CONFIG.override(["measures=false"]))
    assert (result.row.outcome, result.row.measures) == ("kept", {})
    assert not any(name.endswith("_by_second") for name in result.groups[0].samples[0].info)


def test_mono_is_filtered_by_its_correlation(tmp_path: Path) -> None:
    config = CONFIG.override(["filters.max_correlation=0.999"])
    data = as_file(tune(12.0, channels=1))
    result = result_of(tmp_path, data, config)
    assert (result.row.reason, result.groups) == ("correlation_above_0.999", [])
    assert result.row.measures["correlation"] == 1.0
    assert result_of(tmp_path, data).row.outcome == "kept"


@pytest.mark.parametrize(("rate", "channels"), [(RATE, 1), (RATE, 2), (48_000, 1), (48_000, 2)])
@pytest.mark.parametrize("kind", ["MP3", "FLAC"])
def test_how_sound_is_read_changes_no_byte(
    tmp_path: Path, rate: int, channels: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the decoder's blocks: clips, their JSON and the ledger are the same."""
    data = as_file(tune(16.7, rate=rate, channels=channels), rate, kind)
    digests = set()
    for frames in (1 << 17, 1 << 16, 44_100, 4097, 1152, 1 << 20):
        monkeypatch.setattr(files, "BLOCK_FRAMES", frames)
        monkeypatch.setattr(pour, "BLOCK_FRAMES", frames)
        digests.add(digest_of(tmp_path, data))
    assert len(digests) == 1


@pytest.mark.parametrize("channels", [1, 2])
def test_how_a_damaged_file_is_read_changes_no_byte(
    tmp_path: Path, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = holed(as_file(tune(22.0, rate=48_000, channels=channels), 48_000))
    digests = set()
    for frames in (1 << 17, 44_100, 5000, 1 << 20):
        monkeypatch.setattr(files, "BLOCK_FRAMES", frames)
        monkeypatch.setattr(pour, "BLOCK_FRAMES", frames)
        digests.add(digest_of(tmp_path, data))
    assert len(digests) == 1
