"""MoisesDB, its zip or its folder -> four stems and a mixture per song, as float WAVs.

The layout is `.../<song>/data.json` beside `<song>/<stem>/<recording>.wav` (Pereira et al. 2023).
A stem is the sum of its recordings and a mixture the sum of its stems, as the corpus defines them,
with two differences from the published package: recordings of unequal length are padded to the
longest and never trimmed, and sums stay float, so that nothing is clipped.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.config import MusdbConfig
from pipelines.stems.moisesdb_files import Entry, Library, Listed
from pipelines.stems.musdb import CHANNELS, PARTS, SAMPLE_RATE
from pipelines.stems.splits import Split, split_by_artist
from pipelines.stems.stem_folder import Tell
from pipelines.stems.stem_ledger import Finding, close_ledger
from pipelines.stems.stem_mixing import Mix, mix, mixed
from pipelines.workers.fan_out import fan_out
from storage.files import require_space
from storage.home.layout import Corpus, Home
from storage.manifests import write_rows
from storage.records import LedgerRow, StemSong

TOO_MANY = "too_many_stems"
GROWTH = 2
"""Size of a float recording, in that of the same at 16 bits."""


def mix_songs(
    source: Path, home: Home, corpus: Corpus, config: MusdbConfig, tell: Tell | None = None
) -> list[StemSong]:
    """Mix every song, write `songs.jsonl` and the ledger, and return the songs' rows.

    Songs mixed whole by an earlier attempt are left as they are. A song whose files are damaged,
    or whose `data.json` is, is quarantined; a song that lacks vocals, bass or drums gets digital
    silence for it; listed recordings that are not there are left out of the sum and noted in the
    ledger. The split depends on the songs' artists alone, not on which of them are kept.

    Raises:
        DataError: it is not MoisesDB, or too many of its songs are quarantined.
        IntegrityError: the zip as a whole is damaged, or holds unsafe names.
        MachineError: the disk has no room for it.
    """
    library = Library(source)
    entries = library.entries()
    described = {entry.id: library.describe(entry) for entry in entries}
    listed = {song: one for song, one in described.items() if isinstance(one, Listed)}
    shares: dict[Split, float] = {"test": config.test_share, "validation": config.validation_share}
    splits = split_by_artist({s: one.artist for s, one in listed.items()}, shares, config.seed)
    findings = {song: one for song, one in described.items() if isinstance(one, Finding)}
    for song, one in listed.items():
        if config.max_stems and one.stems > config.max_stems:
            findings[song] = Finding(0, TOO_MANY, f"{one.stems} stems")
    wanted = [entry for entry in entries if entry.id not in findings]
    _prepare(source, corpus, wanted)
    mixes = [_mix(source, corpus, entry, listed[entry.id]) for entry in wanted]
    findings |= _mix_all(mixes, config.workers, tell)
    rows = [_row(song, findings[song], listed.get(song), splits) for song in sorted(findings)]
    close_ledger(corpus, rows, config.error_budget)
    names = _names([listed[row.track] for row in rows if row.outcome == "kept"])
    songs = [
        _song(home, _folder(corpus, song), name, splits[song], findings[song])
        for song, name in names.items()
    ]
    write_rows(corpus.songs, songs)
    return songs


def _prepare(source: Path, corpus: Corpus, entries: Sequence[Entry]) -> None:
    """Remove what a killed attempt unpacked; require space for what is not mixed yet."""
    shutil.rmtree(_scratch(corpus), ignore_errors=True)
    lacking = [entry for entry in entries if not mixed(_folder(corpus, entry.id))]
    # A song is about as long as its longest recording, and becomes a mixture and four stems.
    needed = sum(GROWTH * len(PARTS) * max(entry.files.values()) for entry in lacking)
    require_space(corpus.root, needed, f"mixing {source}")


def _mix(source: Path, corpus: Corpus, entry: Entry, listed: Listed) -> Mix:
    scratch = _scratch(corpus) / entry.id
    return Mix(source, entry.root, listed.recordings, _folder(corpus, entry.id), scratch)


def _mix_all(mixes: Sequence[Mix], workers: int, tell: Tell | None) -> dict[str, Finding]:
    done: list[Finding] = []

    def count(finding: Finding) -> None:
        done.append(finding)
        if tell:
            tell(len(done), len(mixes))

    findings = fan_out(mix, mixes, workers, count)
    return {one.destination.name: found for one, found in zip(mixes, findings, strict=True)}


def _folder(corpus: Corpus, song: str) -> Path:
    return corpus.root / "songs" / song


def _song(home: Home, folder: Path, name: str, split: Split, finding: Finding) -> StemSong:
    return StemSong(
        name=name,
        split=split,
        folder=home.relative(folder),
        frames=finding.frames,
        sample_rate=SAMPLE_RATE,
    )


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
