"""One unit end to end: read, decode, filter, cut, shard, account for every track, mark as done.

The same unit gives the same bytes, whoever packs it, when, and after how many interruptions.
"""

import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from pipelines.archive import ArchiveReader
from pipelines.clips import Clip, conform, cut, kept_seconds, key_of, sounding
from pipelines.config import FmaConfig
from pipelines.fanout import fan_out
from pipelines.filters import Rejection, judge, silent
from pipelines.plan import Plan, shuffled
from storage.audio import Waveform, encode
from storage.config import Json, digest_of
from storage.decode import Decoded, decode
from storage.errors import DecodeError, IntegrityError
from storage.files import disk_errors, only_one, read_json
from storage.layout import Corpus, Home, shard_offsets
from storage.manifests import write_rows
from storage.marks import Mark, Work, commit, standing
from storage.records import LedgerRow, Track, Unit, plain
from storage.shards import ShardWriter

STAGE = "pack"
LEDGER = "ledger"
SHARD = "shard-"
"""Labels of a mark's outputs; shards are counted from 0000."""
VERSION = 1
"""Raise it when the same input would give other bytes."""


@dataclass(frozen=True)
class PackRequest:
    """Everything a worker process needs to pack one unit."""

    home: Path
    corpus: Path
    """Folder of the corpus, whose name is its `corpus_key`."""
    archive: Path
    unit: Unit
    config: FmaConfig


@dataclass
class _Crop:
    """What a unit gives: encoded clips, put aside on disk until all are there to be shuffled."""

    spool: IO[bytes]
    places: dict[str, tuple[int, int, Json]] = field(default_factory=dict)
    """Offset, bytes and JSON of each clip by its key."""

    def put(self, key: str, audio: bytes, info: Json) -> None:
        self.places[key] = (self.spool.tell(), len(audio), info)
        self.spool.write(audio)

    def shuffled(self, seed: int) -> Iterator[tuple[str, bytes, Json]]:
        for key in shuffled(list(self.places), seed):
            offset, size, info = self.places[key]
            self.spool.seek(offset)
            yield key, self.spool.read(size), info


def corpus_key(plan: Plan, config: FmaConfig) -> str:
    """Return the name of the corpus that a plan and the settings that shape its bytes make."""
    return digest_of([VERSION, plan.digest(), _what_shapes(config)])[:16]


def unit_work(unit: Unit, config: FmaConfig, corpus: Corpus) -> Work:
    """Return the piece of work that packing a unit into a corpus is.

    The corpus is part of it: two plans can share a unit, but each corpus holds its own shards.
    """
    inputs = {"corpus": corpus.root.name, "unit": digest_of(plain(unit))}
    return Work(STAGE, VERSION, _what_shapes(config), inputs)


def pack_units(
    requests: Sequence[PackRequest],
    workers: int = 0,
    on_done: Callable[[Mark], None] | None = None,
) -> list[Mark]:
    """Pack units over worker processes; return their marks in the requests' order.

    Raises:
        RunError: a worker died.
        StemworksError: as `pack_unit`, when all other units are done.
    """
    return fan_out(pack_unit, requests, workers, on_done)


def pack_unit(request: PackRequest) -> Mark:
    """Pack one unit, unless it is done already, and return its completion mark.

    Raises:
        LockedError: another process is packing this unit.
        IntegrityError: the archive is not the one that was planned.
        MachineError: the disk is full or forbidden.
    """
    home, corpus = Home(request.home), Corpus(request.corpus)
    work = unit_work(request.unit, request.config, corpus)
    if done := standing(home, work).mark:
        return done
    with only_one(home.lock(work.name), f"packing unit {request.unit.id}"):
        if done := standing(home, work).mark:
            return done
        _clear_remains(corpus, request.unit)
        started = time.monotonic()
        rows, shards = _pack(request, corpus)
        return commit(
            home,
            work,
            _outputs(corpus, request.unit, shards),
            _facts(rows, shards),
            time.monotonic() - started,
        )


def _what_shapes(config: FmaConfig) -> Json:
    matters = config.what_matters()
    return {name: matters[name] for name in ("filters", "clips", "shards", "track_seconds", "seed")}


def _pack(request: PackRequest, corpus: Corpus) -> tuple[list[LedgerRow], list[Path]]:
    """Write a unit's shards and ledger; return its rows and tars."""
    config, unit = request.config, request.unit
    path_of, form = partial(corpus.shard, unit.id), config.shards
    with ArchiveReader(request.archive) as archive, disk_errors(corpus.root):
        _require_planned(unit, archive)
        corpus.shards.mkdir(parents=True, exist_ok=True)
        # A file without a name: no crash leaves it behind.
        with (
            tempfile.TemporaryFile(dir=corpus.root) as spool,
            ShardWriter(path_of, form.max_bytes, form.codec) as writer,
        ):
            crop = _Crop(spool)
            rows = [_account(track, archive, config, crop) for track in unit.tracks]
            for key, audio, info in crop.shuffled(config.seed):
                writer.add(key, audio, info)
            shards = writer.close()
    assert [row.track for row in rows] == [track.id for track in unit.tracks]
    assert sum(row.clips for row in rows) == len(crop.places)
    write_rows(corpus.ledger(unit.id), rows)
    return rows, shards


def _require_planned(unit: Unit, archive: ArchiveReader) -> None:
    """Refuse an archive in which a track has another size or CRC than when it was planned."""
    for track in unit.tracks:
        member = archive.member(track.member)
        if (member.bytes, member.crc) != (track.bytes, track.crc):
            raise IntegrityError(
                f"{track.member} in {archive.path} has {member.bytes} bytes and CRC "
                f"{member.crc:08x}, not {track.bytes} and {track.crc:08x} as when the units were "
                "planned; put the planned archive back, or plan again"
            )


def _account(track: Track, archive: ArchiveReader, config: FmaConfig, crop: _Crop) -> LedgerRow:
    """Take one track in; return its ledger row, whatever became of it."""
    row: Json = {"track": track.id, "split": track.split}
    try:
        data = archive.read(track.member)
    except IntegrityError as error:
        return _quarantined(row, "crc_mismatch", str(error))
    row["sha1"] = hashlib.sha1(data).hexdigest()
    if track.sha1 not in (None, row["sha1"]):
        return _quarantined(row, "sha1_mismatch", f"the archive's checksums say {track.sha1}")
    try:
        song = decode(data, track.member, config.track_seconds)
        row |= _measured(song)
        return _take(track, song, config, crop, row)
    except DecodeError as error:
        return _quarantined(row, error.reason, f"{type(error).__name__}: {error}")


def _take(track: Track, song: Decoded, config: FmaConfig, crop: _Crop, row: Json) -> LedgerRow:
    """Filter and cut a decoded track; put its clips aside."""
    if rejection := judge(song, config):
        return _filtered(row, rejection)
    rate = config.filters.sample_rate
    waveform = conform(song, rate)
    clips = cut(waveform, rate, config.clips)
    kept = sounding(waveform, clips, config.filters)
    if rejection := silent(clips, kept):
        return _filtered(row | {"clips_dropped": len(clips)}, rejection)
    about = _describe_track(track, song) | {"sha1": row["sha1"]}
    for clip in kept:
        sound = waveform[:, clip.frames]
        audio = encode(sound, rate, config.shards.codec)
        crop.put(key_of(track.id, clip), audio, about | _describe_clip(clip, sound))
    return LedgerRow(
        **row,
        outcome="kept",
        clips=len(kept),
        clips_dropped=len(clips) - len(kept),
        kept_seconds=kept_seconds(kept),
    )


def _filtered(row: Json, rejection: Rejection) -> LedgerRow:
    return LedgerRow(**row, outcome="filtered", reason=rejection.reason, detail=rejection.detail)


def _quarantined(row: Json, reason: str, detail: str) -> LedgerRow:
    return LedgerRow(**row, outcome="quarantined", reason=reason, detail=detail)


def _measured(song: Decoded) -> Json:
    return {
        "seconds": round(song.seconds, 3),
        "decoder": song.decoder,
        "sample_rate": song.sample_rate,
        "channels": song.channels,
        "decode_errors": song.decode_errors,
        "frames_lost": song.frames_lost,
    }


def _describe_track(track: Track, song: Decoded) -> Json:
    return {
        "track": track.id,
        "title": track.title,
        "artist": track.artist,
        "licence": track.licence,
        "genre": track.genre,
        "split": track.split,
        "decoder": song.decoder,
        "sample_rate": song.sample_rate,
        "channels": song.channels,
    }


def _describe_clip(clip: Clip, sound: Waveform) -> Json:
    return {
        "clip": clip.number,
        "start_seconds": clip.start_seconds,
        "power_db": [round(power, 2) for power in clip.power_db],
        "n_clipped": int(np.count_nonzero(np.abs(sound) > 1)),
    }


def _outputs(corpus: Corpus, unit: Unit, shards: Sequence[Path]) -> dict[str, Path]:
    outputs = {LEDGER: corpus.ledger(unit.id)}
    for number, shard in enumerate(shards):
        outputs[f"{SHARD}{number:04d}"] = shard
        outputs[f"offsets-{number:04d}"] = shard_offsets(shard)
    return outputs


def _facts(rows: Sequence[LedgerRow], shards: Sequence[Path]) -> Json:
    return {
        "tracks": len(rows),
        "kept": sum(row.outcome == "kept" for row in rows),
        "filtered": count_reasons(rows, "filtered"),
        "quarantined": count_reasons(rows, "quarantined"),
        "clips": sum(row.clips for row in rows),
        "hours": round(sum(row.kept_seconds for row in rows) / 3600, 6),
        "shards": [len(read_json(shard_offsets(shard))) for shard in shards],
    }


def count_reasons(rows: Sequence[LedgerRow], outcome: str) -> dict[str, int]:
    """Return how many tracks of an outcome have each reason, by name."""
    counts = Counter(row.reason for row in rows if row.outcome == outcome)
    return dict(sorted(counts.items()))


def _clear_remains(corpus: Corpus, unit: Unit) -> None:
    """Remove what a killed attempt left half written."""
    for path in [corpus.shard(unit.id, 0), corpus.ledger(unit.id)]:
        for remains in path.parent.glob(f".{unit.id}*.arriving"):
            remains.unlink(missing_ok=True)
