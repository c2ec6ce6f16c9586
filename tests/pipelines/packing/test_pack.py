"""Packing: every track accounted for, every sample carrying where it came from."""

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.config import FmaConfig
from pipelines.measures.table import MEASURES
from pipelines.packing.pack import pack_units
from pipelines.packing.process_track import TrackResult, TrackTask, process_track
from pipelines.tracks.fma import read_tracks
from pipelines.tracks.plan import make_plan
from storage.errors import ConfigError, MachineError, SourceError
from storage.home.layout import Corpus, Home
from storage.manifests import read_rows
from storage.records import LedgerRow
from tests.pipelines.packing.corpora import CONFIG, Study, begin, contents
from tests.synthesised import Archives, as_file, fma_songs, good_mp3, holed, tune, write_fma


def silent_mp3() -> bytes:
    return as_file(0 * tune(1.0))


def test_every_track_gets_its_row(packed: Study) -> None:
    found = {track: (row.outcome, row.reason, row.clips) for track, row in packed.rows().items()}
    assert found == {
        "000002": ("kept", "", 3),
        "000003": ("kept", "", 1),
        "000004": ("kept", "", 2),
        "000005": ("filtered", "rate_below_44100", 0),
        "000010": ("filtered", "too_short", 0),
        "000011": ("kept", "", 2),
        "099134": ("quarantined", "empty", 0),
        "108925": ("quarantined", "not_audio", 0),
        "133297": ("quarantined", "truncated", 0),
    }
    row = packed.rows()["000011"]
    assert (row.clips_dropped, row.kept_seconds, row.seconds) == (2, 20.0, 26.0)
    assert row.sha1 == hashlib.sha1(fma_songs()["000011"]).hexdigest()


def test_marks_tell_the_facts(packed: Study) -> None:
    marks = packed.pack()
    assert sum(mark.facts["tracks"] for mark in marks) == 9
    for mark, unit in zip(marks, packed.plan.units, strict=True):
        rows = read_rows(packed.corpus.ledger(unit.id), LedgerRow)
        assert mark.facts["kept"] == sum(row.outcome == "kept" for row in rows)
        assert mark.facts["clips"] == sum(shard["clips"] for shard in mark.facts["shards"])
        assert mark.facts["bytes_in"] == sum(track.packed_bytes for track in unit.tracks)
        assert mark.facts["cpu_seconds"] > 0
        assert 0 < mark.facts["peak_mb"] < 600
        assert mark.path(packed.home, "ledger") == packed.corpus.ledger(unit.id)


def test_samples_carry_sound_and_provenance(packed: Study) -> None:
    reader = packed.reader(packed.pack())
    names = [reader.clip(number).key for number in range(len(reader))]
    keys = set(names)
    assert keys >= {"t000002_c0000", "t000011_c0003", "t000003_c0000"}
    assert "t000011_c0001" not in keys
    notes = _notes(packed.corpus)
    assert notes.keys() == keys
    note = notes["t000004_c0001"]
    assert (note["start_seconds"], note["split"], note["channels"]) == (5, "validation", 1)
    assert notes["t000003_c0000"]["sample_rate"] == 48_000
    assert (note["artist"], note["title"]) == ("Ünal, 000004", 'Song "000004"')
    assert notes["t000011_c0000"]["artist"] == ""
    assert set(note) == {
        *("track", "title", "artist", "licence", "genre", "split", "start_seconds", "clip"),
        *("power_db", "sha1", "decoder", "n_clipped", "sample_rate", "channels"),
        *(kind.by_second for kind in MEASURES),
    }
    for number, key in enumerate(names):
        waveform = reader.read(number)
        assert waveform.shape == (2, 441_000)
        power = np.square(waveform.astype(np.float64)).reshape(2, 10, -1).mean(axis=(0, 2))
        decibels = 10 * np.log10(np.maximum(power, 1e-12))
        loud = decibels > -50
        np.testing.assert_allclose(
            decibels[loud], np.array(notes[key]["power_db"])[loud], atol=0.02
        )


def _notes(corpus: Corpus) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    for shard in corpus.shards.glob("*.tar"):
        with tarfile.open(shard) as tar:
            for member in tar:
                stream = tar.extractfile(member)
                if member.name.endswith(".json") and stream is not None:
                    notes[member.name.removesuffix(".json")] = json.load(stream)
    return notes


def test_clips_are_shuffled_inside_the_unit(tmp_path: Path, archives: Archives) -> None:
    study = begin(tmp_path, archives, CONFIG.override(["unit_tracks=9"]))
    study.pack()
    with tarfile.open(study.corpus.shard("0000", 0)) as tar:
        order = [name for name in tar.getnames() if name.endswith(".flac")]
    assert len(order) == 8
    assert order != sorted(order)


def _one(root: Path, song: bytes, *settings: str) -> LedgerRow:
    archives = write_fma(root / "data", {"000002": song})
    study = begin(root / "home", archives, CONFIG.override(settings))
    study.pack()
    return study.rows()["000002"]


def test_small_damage_is_kept_and_counted(tmp_path: Path) -> None:
    row = _one(tmp_path, holed(good_mp3()))
    assert (row.outcome, row.clips) == ("kept", 3)
    assert row.frames_lost > 0
    assert sum(seconds for _, seconds in row.losses) == pytest.approx(
        row.frames_lost / 44_100, abs=1e-3
    )


def test_settings_decide_what_is_left_out(tmp_path: Path) -> None:
    songs = fma_songs()
    row = _one(tmp_path / "mono", songs["000004"], "filters.mono=drop")
    assert (row.outcome, row.reason) == ("filtered", "mono")
    row = _one(tmp_path / "silent", songs["000002"], "filters.silence_db=0")
    assert (row.outcome, row.reason, row.clips_dropped) == ("filtered", "silent", 3)
    row = _one(tmp_path / "long", songs["000002"], "track_seconds=20")
    assert (row.outcome, row.reason) == ("quarantined", "too_long")


def test_damaged_members_are_quarantined(tmp_path: Path) -> None:
    archives = write_fma(tmp_path / "data", {"000002": good_mp3(), "000003": silent_mp3()})
    tracks = read_tracks(*archives)
    data = bytearray(archives.archive.read_bytes())
    # Inside the first song's compressed bytes, past its name in the local header.
    data[data.index(tracks[0].member.encode()) + 1000] ^= 0xFF
    wrong = [tracks[0], tracks[1].model_copy(update={"sha1": "0" * 40})]
    archives.archive.write_bytes(data)
    plan = make_plan(wrong, CONFIG)
    home = Home(tmp_path / "home")
    corpus = home.corpus("fma", "key")
    Study(home, corpus, plan, CONFIG, archives.archive).pack()
    rows = {row.track: row for row in read_rows(corpus.ledger("0000"), LedgerRow)}
    assert rows["000002"].reason == "crc_mismatch"
    assert "damaged" in rows["000002"].detail
    assert rows["000003"].reason == "sha1_mismatch"
    assert rows["000003"].sha1 == hashlib.sha1(silent_mp3()).hexdigest()


def test_another_archive_than_the_planned_is_refused(tmp_path: Path) -> None:
    study = begin(tmp_path / "home", write_fma(tmp_path / "data", {"000002": good_mp3()}))
    requests = study.requests
    write_fma(tmp_path / "data", {"000002": holed(good_mp3())})
    with pytest.raises(SourceError, match="plan again"):
        pack_units(requests)
    study.archive.unlink()
    with pytest.raises(SourceError, match="was planned but cannot be found"):
        pack_units(requests)
    assert not [
        name for name in contents(study.corpus) if name != "plan.json" and "units.j" not in name
    ]


@pytest.mark.parametrize("storage", ["clips", "segments"])
def test_full_shards_and_wav(tmp_path: Path, archives: Archives, storage: str) -> None:
    settings = [f"shards.storage={storage}", "shards.codec=wav", "shards.max_bytes=4_000_000"]
    study = begin(tmp_path, archives, FmaConfig().override(settings))
    (mark,) = study.pack()
    clips = [shard["clips"] for shard in mark.facts["shards"]]
    assert sum(clips) == 8
    assert len(clips) > 1
    assert len(study.reader([mark])) == 8


def test_a_track_by_another_is_dropped_unread(tmp_path: Path) -> None:
    songs = {"000002": good_mp3(), "000003": good_mp3()}
    archives = write_fma(tmp_path / "data", songs)
    study = begin(tmp_path / "home", archives)
    (mark,) = study.pack()
    assert mark.facts["filtered"] == {"duplicate": 1}
    assert mark.facts["bytes_in"] == study.plan.units[0].tracks[0].packed_bytes
    row = study.rows()["000003"]
    assert (row.detail, row.seconds, row.sha1) == ("the bytes of track 000002", 0.0, "")
    study = begin(tmp_path / "home", archives, CONFIG.override(["filters.duplicates=keep"]))
    assert study.pack()[0].facts["kept"] == 2


def test_licences_outside_the_list_are_dropped_unread(tmp_path: Path, archives: Archives) -> None:
    config = CONFIG.override(['filters.licences=["cc ?y"]'])
    study = begin(tmp_path, archives, config)
    study.pack()
    rows = study.rows()
    # The one that the metadata does not know states no licence.
    assert (rows["000011"].reason, rows["000011"].detail) == ("licence", "none stated")
    assert rows["000002"].outcome == "kept"


def test_hops_that_do_not_divide_clips_share_nothing(tmp_path: Path, archives: Archives) -> None:
    settings = ["clips.hop_seconds=4", "shards.storage=segments"]
    with pytest.raises(ConfigError, match=r"shards\.storage=clips"):
        begin(tmp_path, archives, CONFIG.override(settings)).pack()
    study = begin(tmp_path, archives, CONFIG.override(settings[:1]))
    study.pack()
    # Clips start every 4 s; six silent seconds lie in three of the five of 000011.
    clips = {track: row.clips for track, row in study.rows().items() if row.clips}
    assert clips == {"000002": 4, "000003": 1, "000004": 2, "000011": 2}


@pytest.mark.parametrize("codec", ["flac", "wav"])
def test_both_forms_hold_the_same_clips(tmp_path: Path, archives: Archives, codec: str) -> None:
    heard: list[dict[str, str]] = []
    for storage in ("clips", "segments"):
        config = CONFIG.override([f"shards.storage={storage}", f"shards.codec={codec}"])
        study = begin(tmp_path, archives, config)
        reader = study.reader(study.pack(2))
        heard.append(
            {
                reader.clip(n).key: hashlib.sha256(reader.read(n).tobytes()).hexdigest()
                for n in range(len(reader))
            }
        )
    assert heard[0] == heard[1]
    assert len(heard[0]) == 8


def test_a_full_disk_fails_the_unit_and_leaves_a_usable_home(
    tmp_path: Path, archives: Archives
) -> None:
    study = begin(tmp_path, archives)
    with pytest.raises(MachineError, match="no space is left"):
        study.pack(2, full)
    assert not list(study.corpus.shards.iterdir())
    assert sum(mark.facts["tracks"] for mark in study.pack()) == 9


def full(task: TrackTask) -> TrackResult:
    """Process a track with a staging file on a full disk, as the kernel simulates it."""
    return process_track(task._replace(staging=Path("/dev/full")))
