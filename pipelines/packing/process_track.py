"""One track: extract, decode, filter, cut, encode, stage. Runs in a process of its own.

Nothing here grows with a track's length: its bytes lie in an unnamed file, its sound passes through
block by block.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipelines.archives.sources import Extent, extract
from pipelines.config import FmaConfig
from pipelines.measures.measurer import Measurer
from pipelines.measures.table import MEASURES
from pipelines.packing.clips import Clip, Conformer
from pipelines.packing.cutters.official import cutter_of
from pipelines.packing.filters import DECODED, MEASURED, OPENED, Rejection, judge, silent
from pipelines.packing.staging_file import ClipWriter, Group, PieceEncoder, StagingFile
from storage.audio.decode import decode_into
from storage.audio.decoding import Decoding, Form
from storage.audio.waveforms import Waveform
from storage.config import Json
from storage.errors import DecodeError, IntegrityError
from storage.files import disk_errors
from storage.records import LedgerRow, Track

LISTED_LOSSES = 100
"""Places of lost sound that a ledger row lists; `frames_lost` counts them all."""


class TrackTask(NamedTuple):
    """One track to process."""

    track: Track
    extent: Extent
    """Where its stored bytes lie."""
    config: FmaConfig
    staging: Path
    """The staging file."""
    start: int
    """Byte of the staging file at which its samples may begin."""
    scratch: Path
    """Folder on whose disk its uncompressed bytes are held meanwhile."""


class TrackResult(NamedTuple):
    """What became of a track."""

    row: LedgerRow
    groups: list[Group]
    end: int
    """Byte of the staging file at which its samples end."""


def process_track(task: TrackTask) -> TrackResult:
    """Process one track; damage makes a ledger row, never an error.

    Raises:
        SourceError: the archive is not the one that was planned.
        MachineError: the disk is full or forbidden.
    """
    with (
        disk_errors(task.scratch),
        tempfile.TemporaryFile(dir=task.scratch) as plain,
        StagingFile(task.staging, task.start) as staging,
    ):
        row = ledger_start(task.track)
        try:
            row["sha1"] = extract(task.extent, task.track, plain)
        except IntegrityError as error:
            return _dropped(task, quarantined(row, "crc_mismatch", str(error)))
        if task.track.sha1 not in (None, row["sha1"]):
            detail = f"the archive's checksums say {task.track.sha1}"
            return _dropped(task, quarantined(row, "sha1_mismatch", detail))
        plain.flush()
        try:
            return _decode(task, Path(f"/proc/self/fd/{plain.fileno()}"), staging, row)
        except DecodeError as error:
            detail = f"{type(error).__name__}: {error}"
            return _dropped(
                task, quarantined(row | _known(error.facts, error.sink), error.reason, detail)
            )


def ledger_start(track: Track) -> Json:
    """Return the fields that every ledger row has."""
    return {"track": track.id, "split": track.split}


def filtered(row: Json, rejection: Rejection) -> LedgerRow:
    """Return the ledger row of a track that is left out on purpose."""
    return LedgerRow(**row, outcome="filtered", reason=rejection.reason, detail=rejection.detail)


def quarantined(row: Json, reason: str, detail: str) -> LedgerRow:
    """Return the ledger row of a track that failed."""
    return LedgerRow(**row, outcome="quarantined", reason=reason, detail=detail)


def _dropped(task: TrackTask, row: LedgerRow) -> TrackResult:
    return TrackResult(row, [], task.start)


def _decode(task: TrackTask, path: Path, staging: StagingFile, row: Json) -> TrackResult:
    """Decode, filter and cut a track; stage its clips."""
    config = task.config

    def open_writer(form: Form) -> _TrackWriter | None:
        if judge(OPENED, form, config):
            return None
        return _TrackWriter(task, form, staging, _describe(task.track, form, row["sha1"]))

    facts, writer = decode_into(path, task.track.member, config.track_seconds, open_writer)
    row = row | _known(facts, writer)
    form = Form(facts.sample_rate, facts.channels, facts.decoder)
    rejection = judge(OPENED, form, config) or judge(DECODED, facts, config)
    if rejection := rejection or judge(MEASURED, row.get("measures", {}), config):
        return _dropped(task, filtered(row, rejection))
    assert writer
    return writer.finish(row)


class _TrackWriter:
    """Takes a track's sound block by block, and stages its clips."""

    def __init__(self, task: TrackTask, form: Form, staging: StagingFile, about: Json) -> None:
        config = task.config
        rate = config.filters.sample_rate
        self._task, self._about = task, about
        self._conformer = Conformer(form, rate)
        self._cutter = cutter_of(config)
        self._measurer = Measurer(rate, MEASURES if config.measures else ())
        encoder = PieceEncoder(rate, config.shards)
        self._clips = ClipWriter(task.track.id, staging, encoder, config.shards)
        self._kept = 0
        self._kept_seconds = self._covered = 0.0

    def take(self, block: Waveform) -> None:
        """Take the next frames as they were decoded."""
        self._cut(self._conformer.take(block))

    def measures(self) -> Json:
        """Return what was measured, as the ledger has it; no more frames follow."""
        self._cut(self._conformer.rest())
        self._measurer.close()
        return self._measurer.found()

    def finish(self, row: Json) -> TrackResult:
        """Return what became of the track, once it is measured."""
        self._stage(self._cutter.rest())
        dropped = self._cutter.clips - self._kept
        if self._cutter.lost or not self._kept:
            row = row | {"clips_dropped": self._cutter.clips}
            return _dropped(self._task, filtered(row, silent(self._cutter)))
        done = LedgerRow(
            **row,
            outcome="kept",
            clips=self._kept,
            clips_dropped=dropped,
            kept_seconds=round(self._kept_seconds, 3),
        )
        last = self._clips.groups[-1].samples[-1]
        return TrackResult(done, self._clips.groups, last.offset + last.bytes)

    def _cut(self, sound: Waveform) -> None:
        # Before clips are cut: each says what was measured of its seconds.
        self._measurer.take(sound)
        self._stage(self._cutter.take(sound))

    def _stage(self, clips: Iterator[Clip]) -> None:
        for clip in clips:
            if not clip.kept or self._cutter.lost:
                continue
            self._clips.write(clip, self._note)
            end = clip.start_seconds + len(clip.power_db)
            self._kept += 1
            self._kept_seconds += end - max(clip.start_seconds, self._covered)
            self._covered = end

    def _note(self, start: float, stop: float) -> Json:
        """Return what a sample says of its track, and of the seconds that it holds."""
        return self._about | self._measurer.between(start, stop)


def _known(facts: object, writer: object) -> Json:
    """Return what a ledger row says of a recording that was decoded, be it in part."""
    decoded = _decoded(facts) if isinstance(facts, Decoding) else {}
    return decoded | (writer.measures() if isinstance(writer, _TrackWriter) else {})


def _decoded(song: Decoding) -> Json:
    return {
        "seconds": round(song.seconds, 3),
        "decoder": song.decoder,
        "sample_rate": song.sample_rate,
        "channels": song.channels,
        "decode_errors": song.decode_errors,
        "frames_lost": song.frames_lost,
        "frames_promised": song.promised.frames,
        "promise": song.promised.certainty,
        "losses": tuple(
            (round(hole.start / song.sample_rate, 3), round(hole.frames / song.sample_rate, 3))
            for hole in song.holes[:LISTED_LOSSES]
        ),
        "stray_bytes": song.stray_bytes,
    }


def _describe(track: Track, form: Form, sha1: str) -> Json:
    return {
        "track": track.id,
        "title": track.title,
        "artist": track.artist,
        "licence": track.licence,
        "genre": track.genre,
        "split": track.split,
        "decoder": form.decoder,
        "sample_rate": form.sample_rate,
        "channels": form.channels,
        "sha1": sha1,
    }
