"""A ledger row keeps what was measured of a track, whatever became of it."""

import tempfile
from pathlib import Path

import pytest

from pipelines.packing.process_track import process_track
from storage.records import LedgerRow
from tests.pipelines.packing.test_process_track import task_of
from tests.synthesised import RATE, as_file, good_mp3, holed, tune, untagged


def row_of(folder: Path, data: bytes) -> LedgerRow:
    with tempfile.TemporaryFile(dir=folder) as staging:
        return process_track(task_of(folder, data, staging)).row


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
