"""The ledger of all tracks as Parquet: what others read is what was written."""

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.measures.table import FIGURES, MEASURES
from pipelines.measures.track_table import GROUP, schema, track_table
from storage.errors import MachineError
from storage.records import LedgerRow, Track
from tests.pipelines.measures.sounds import found, noise


def track(number: int, **more: Any) -> Track:
    return Track(id=f"{number:06d}", member=f"{number}.mp3", bytes=number, **more)


def kept(number: int, **more: Any) -> LedgerRow:
    return LedgerRow(track=f"{number:06d}", outcome="kept", clips=1, kept_seconds=10.0, **more)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A measured track, one with an undefined figure, and one that was never decoded."""
    path = tmp_path_factory.mktemp("table") / "tracks.parquet"
    seen = found(noise(2.5))
    halves = seen["measures"] | {"correlation": None, "bandwidth_hz": 9000}
    lists = seen["by_second"] | {"correlation_by_second": [0.5, None]}
    rows = [
        kept(1, seconds=2.5, losses=((0.5, 0.25),), **seen),
        kept(2, seconds=99.0, measures=halves, by_second=lists),
        LedgerRow(track="000003", outcome="quarantined", reason="empty"),
    ]
    tracks = [track(1, artist="Ünal", title="a,b", licence="CC BY", genre="Folk"), track(2)]
    with track_table(path) as table:
        table.add(tracks, rows[:2])
        table.add([track(3)], rows[2:])
    return path


def test_every_field_and_figure_is_a_column(table: Path) -> None:
    names = pq.read_table(table).column_names
    assert len(names) == len(set(names))
    assert set(names) >= {
        *("track", "artist", "title", "licence", "genre", "split", "outcome", "reason", "detail"),
        *("seconds", "sample_rate", "channels", "decoder", "decode_errors", "frames_lost"),
        *("frames_promised", "clips", "kept_seconds"),
        *(figure.name for figure in FIGURES),
        *(kind.by_second for kind in MEASURES),
    }
    assert schema().field("bandwidth_hz").type == pa.int64()
    assert schema().field("track").type == pa.string()
    assert schema().field("seconds").type == pa.float64()


def test_pandas_reads_it(table: Path) -> None:
    frame = pd.read_parquet(table)
    assert frame.track.tolist() == ["000001", "000002", "000003"]
    assert frame.artist.tolist() == ["Ünal", "", ""]
    assert frame.bandwidth_hz[0] == 22_050
    assert frame[frame.bandwidth_hz < 16_000].track.tolist() == ["000002"]
    assert frame.correlation.isna().tolist() == [False, True, True]
    assert len(frame.loudness_lufs_by_second[0]) == 3
    assert [list(one) for one in frame.losses[0]] == [[0.5, 0.25]]


def test_duckdb_reads_it(table: Path) -> None:
    kept_below = "where bandwidth_hz < 16000 and outcome = 'kept'"
    query = f"select track, seconds, correlation_by_second from '{table}' {kept_below}"
    assert duckdb.execute(query).fetchall() == [("000002", 99.0, [0.5, None])]


def test_a_large_corpus_is_written_in_groups(tmp_path: Path) -> None:
    path, unit = tmp_path / "tracks.parquet", GROUP // 2 + 1
    with track_table(path) as table:
        for first in range(0, 5 * unit, unit):
            numbers = range(first, first + unit)
            table.add([track(n) for n in numbers], [kept(n) for n in numbers])
    file = pq.ParquetFile(path)
    sizes = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
    assert sizes == [2 * unit, 2 * unit, unit]
    assert pq.read_table(path).column("track").to_pylist() == [f"{n:06d}" for n in range(5 * unit)]


def test_the_same_tracks_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with track_table(tmp_path / name) as table:
            table.add([track(1)], [kept(1, **found(noise(1.5)))])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_corpus_without_tracks_has_an_empty_table(tmp_path: Path) -> None:
    with track_table(tmp_path / "tracks.parquet"):
        pass
    assert pq.read_table(tmp_path / "tracks.parquet").num_rows == 0


def test_nothing_is_left_of_a_table_that_was_not_finished(tmp_path: Path) -> None:
    def fill() -> None:
        with track_table(tmp_path / "tracks.parquet") as table:
            table.add([track(1)], [kept(1)])
            raise MachineError("the disk is full")

    with pytest.raises(MachineError):
        fill()
    assert not list(tmp_path.iterdir())
