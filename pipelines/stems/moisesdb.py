"""MoisesDB, its zip or its folder -> the configured stems and a mixture per song, as float WAVs.

The layout is `.../<song>/data.json` beside `<song>/<stem>/<recording>.wav` (Pereira et al. 2023).
A stem is the sum of its recordings and a mixture the sum of all, as the corpus defines them,
with two differences from the published package: recordings of unequal length are padded to the
longest and never trimmed, and sums stay float, so that nothing is clipped.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.config import CHANNELS, SAMPLE_RATE, MusdbConfig
from pipelines.stems.moisesdb_files import Entry, Library, Listed
from pipelines.stems.splits import Split, require_validation, split_by_artist
from pipelines.stems.stem_ledger import Finding, OnProgress, close_ledger
from pipelines.stems.stem_mixing import Mix, mix, mixed
from pipelines.workers.fan_out import fan_out
from storage.files import require_space
from storage.home.layout import Corpus, Home
from storage.manifests import write_rows
from storage.records import LedgerRow, StemSong

TOO_MANY = "too_many_stems"
REMEDY = (
    "whole artists are taken for it: add songs of another artist, loosen musdb.max_stems, or set "
    "musdb.validation_share=0 to use the songs for the test alone"
)
GROWTH = 2
"""Size of a float recording, in that of the same at 16 bits."""


def mix_songs(
    source: Path, home: Home, corpus: Corpus, config: MusdbConfig, report: OnProgress | None = None
) -> list[StemSong]:
    """Mix every song, write `songs.jsonl` and the ledger, and return the songs' rows.

    Songs mixed whole by an earlier attempt are left as they are. A song whose files or `data.json`
    are damaged is quarantined; one that lacks a stem gets digital silence for it; the ledger notes
    listed recordings that are missing. The songs' artists alone decide the split.

    Raises:
        DataError: it is not MoisesDB, no song is left to validate, or too many are quarantined.
        IntegrityError: the zip is damaged, or holds unsafe names.
        MachineError: the disk has no room for it.
    """
    entries = (library := Library(source)).entries()
    described = {each.id: library.describe(each, config.recordings()) for each in entries}
    listed = {song: one for song, one in described.items() if isinstance(one, Listed)}
    splits = _splits(listed, config)
    findings = _left_out(described, config.max_stems)
    wanted = [entry for entry in entries if entry.id not in findings]
    _require_validation(source, [splits[entry.id] for entry in wanted], config)
    _prepare(source, corpus, wanted, config.stems)
    mixes = [_mix(source, corpus, entry, listed[entry.id]) for entry in wanted]
    findings |= _mix_all(mixes, config.workers, report)
    rows = [_row(song, findings[song], listed.get(song), splits) for song in sorted(findings)]
    close_ledger(corpus, rows, config.error_budget)
    kept = _names([listed[row.track] for row in rows if row.outcome == "kept"])
    songs = [
        StemSong(
            name=name,
            split=splits[song],
            frames=findings[song].frames,
            folder=home.relative(_folder(corpus, song)),
            sample_rate=SAMPLE_RATE,
            stems=config.stems,
        )
        for song, name in kept.items()
    ]
    write_rows(corpus.songs, songs)
    return songs


def _splits(listed: Mapping[str, Listed], config: MusdbConfig) -> dict[str, Split]:
    shares: dict[Split, float] = {"test": config.test_share, "validation": config.validation_share}
    return split_by_artist({s: one.artist for s, one in listed.items()}, shares, config.seed)


def _require_validation(source: Path, splits: Sequence[Split], config: MusdbConfig) -> None:
    if config.validation_share:
        require_validation(source, splits, REMEDY)


def _left_out(described: Mapping[str, Listed | Finding], max_stems: int) -> dict[str, Finding]:
    """Return the songs that are not mixed: faulty ones, and those with too many stems."""
    findings: dict[str, Finding] = {}
    for song, one in described.items():
        if isinstance(one, Finding):
            findings[song] = one
        elif max_stems and one.stems > max_stems:
            findings[song] = Finding(0, TOO_MANY, f"{one.stems} stems")
    return findings


def _prepare(source: Path, corpus: Corpus, entries: Sequence[Entry], stems: Sequence[str]) -> None:
    """Remove what a killed attempt unpacked; require space for what is not mixed yet."""
    shutil.rmtree(_scratch(corpus), ignore_errors=True)
    lacking = [entry for entry in entries if not mixed(_folder(corpus, entry.id), stems)]
    # A song is about as long as its longest recording, and becomes a mixture and its stems.
    needed = sum(GROWTH * (1 + len(stems)) * max(entry.files.values()) for entry in lacking)
    require_space(corpus.root, needed, f"mixing {source}")


def _mix(source: Path, corpus: Corpus, entry: Entry, listed: Listed) -> Mix:
    scratch = _scratch(corpus) / entry.id
    return Mix(
        source,
        entry.root,
        listed.recordings,
        listed.others,
        _folder(corpus, entry.id),
        scratch,
    )


def _mix_all(
    mixes: Sequence[Mix], workers: int, on_progress: OnProgress | None
) -> dict[str, Finding]:
    done: list[Finding] = []

    def count(finding: Finding) -> None:
        done.append(finding)
        if on_progress:
            on_progress(len(done), len(mixes))

    findings = fan_out(mix, mixes, workers, count)
    return {one.destination.name: found for one, found in zip(mixes, findings, strict=True)}


def _folder(corpus: Corpus, song: str) -> Path:
    return corpus.root / "songs" / song


def _scratch(corpus: Corpus) -> Path:
    return corpus.root / "scratch"


def _names(songs: Sequence[Listed]) -> dict[str, str]:
    """Return each song's name by its id: `Artist - Title`, and the id too where two are alike."""
    plain = {one.id: f"{one.artist.strip()} - {one.title.strip()}" for one in songs}
    times = Counter(plain.values())
    return {song: name if times[name] == 1 else f"{name} ({song})" for song, name in plain.items()}


def _row(
    song: str, finding: Finding, listed: Listed | None, splits: Mapping[str, Split]
) -> LedgerRow:
    split = splits.get(song, "train")
    track = song if song.isprintable() else ascii(song)
    if finding.reason:
        return LedgerRow(
            track=track,
            outcome="filtered" if finding.reason == TOO_MANY else "quarantined",
            reason=finding.reason,
            detail=finding.detail,
            split=split,
        )
    return LedgerRow(
        track=track,
        outcome="kept",
        detail=_remarks(listed) if listed else "",
        seconds=finding.frames / SAMPLE_RATE,
        split=split,
        sample_rate=SAMPLE_RATE,
        channels=CHANNELS,
    )


def _remarks(listed: Listed) -> str:
    """Say what a kept song lacks."""
    silent = [stem for stem, names in listed.recordings.items() if not names]
    remarks = [f"no {', '.join(silent)}"] if silent else []
    if listed.absent:
        remarks.append(f"recordings listed but not there: {listed.absent}")
    return "; ".join(remarks)
