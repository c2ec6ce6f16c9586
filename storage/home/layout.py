"""`Home`: every path of a home, spelled here and nowhere else, and the store of its bytes."""

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from storage.files import hash_file
from storage.stores.base import FolderStore, Seen, Store

ATTRIBUTION = "ATTRIBUTION.csv"
"""Beside a corpus's shards, and beside an exported model: whose music it is made of."""


class Home:
    """The folder that contains everything that a study produces.

    ::

        studies/<name>.json                the one configuration of this name
        archives/                          archives that were synthesised or downloaded
        marks/<stage>/<key>.json           completion marks, written last
        locks/<name>.lock                  held while a stage or unit runs
        fma/<key>/plan.json units.jsonl    the units; the tracks of each
        fma/<key>/units/0003.jsonl         the outcome of each track of unit 0003
        fma/<key>/shards/0003-00.tar       clips; 0003-00.idx.json: their offsets in it
        fma/<key>/index.json census.json   totals of all units
        fma/<key>/README.md                the corpus's card; ATTRIBUTION.csv: whose music it is
        fma/<key>/tracks.parquet           every track, what became of it and was measured of it
        musdb/<key>/train|test/<song>/     stems as WAV
        musdb/<key>/songs/<id>/            MoisesDB's songs, mixed; mixed.json is written last
        musdb/<key>/songs.jsonl            songs with their split
        musdb/<key>/units/songs.jsonl      the outcome of each song of MoisesDB or of a folder
        activity/<key>/activity.jsonl      in which windows each stem is active
        runs/<name>-<key>/                 one GPU job: job.json, log.txt, metrics.jsonl, result/
        models/<key>/                      a copy of a model from outside: model.json, its weights
        reports/<name>/report.html         the report
        cache/<sha256>                     shards downloaded from a home in a bucket

    The bytes are kept in the home's `store`. If that is a folder, `root` is the same folder. If it
    is a bucket, `root` is this machine's working copy: outputs are written here and then uploaded,
    and a file that is missing here is downloaded when it is needed.
    """

    def __init__(self, root: Path, store: Store | None = None) -> None:
        self.root = root
        self.store: Store = store or FolderStore(root)

    @property
    def url(self) -> str:
        """The address that `--home` takes: the folder's path, or `s3://bucket/prefix`."""
        return self.store.url

    @property
    def remote(self) -> bool:
        """Whether the bytes are kept elsewhere than in `root`."""
        return not (isinstance(self.store, FolderStore) and self.store.root == self.root)

    def seen(self, spelled: str) -> Seen | None:
        """Return size and version of a file that `relative` spelled; None if there is none."""
        if Path(spelled).is_absolute():
            return FolderStore(Path("/")).seen(spelled)
        return self.store.seen(spelled)

    def has(self, path: Path) -> bool:
        """Whether a file of this home exists."""
        return self.seen(self.relative(path)) is not None

    def read(self, path: Path) -> bytes:
        """Return a small file's present bytes; raise `ManifestError` if it is missing."""
        return self.store.read(self.relative(path))

    def write(self, path: Path, data: bytes) -> None:
        """Write a small file to the store, where every machine sees it."""
        self.store.write(self.relative(path), data)

    def fetch(self, path: Path, sha256: str = "") -> Path:
        """Return a file's path on this machine, downloaded if it is not here.

        Raises:
            ManifestError: there is no such file.
            IntegrityError: the bytes are not those of `sha256`.
        """
        if not self.remote or not self.holds(path):
            return path
        if not (sha256 and path.is_file() and hash_file(path) == sha256):
            self.store.get(self.relative(path), path, sha256)
        return path

    def release(self, path: Path) -> None:
        """Delete the working copy of a file in a bucket, to free its disk space."""
        if self.remote:
            path.unlink(missing_ok=True)

    def remove(self, path: Path) -> None:
        """Delete a file; a missing one is no error."""
        self.store.remove(self.relative(path))
        self.release(path)

    def clear(self, folder: Path) -> None:
        """Delete a folder and everything in it."""
        if self.remote:
            for name in self.store.listing(self.relative(folder)):
                self.store.remove(name)
        shutil.rmtree(folder, ignore_errors=True)

    def alone(self, name: str, what: str) -> AbstractContextManager[None]:
        """Hold the lock of a stage, unit or study; it is released when its process dies.

        Raises:
            LockedError: another process holds it.
        """
        return self.store.alone(self.relative(self.lock(name)), what)

    def relative(self, path: Path) -> str:
        """Return a path as marks spell it: relative to the home if inside it, else absolute."""
        return path.relative_to(self.root).as_posix() if self.holds(path) else str(path)

    def spell(self, path: Path) -> str:
        """Return where a user finds a file of this home: its path, or its address in the bucket."""
        return f"{self.url}/{self.relative(path)}" if self.remote else str(path)

    def holds(self, path: Path) -> bool:
        """Whether a path is inside this home."""
        return path.is_relative_to(self.root)

    def path(self, spelled: str) -> Path:
        """Return the path that `relative` spelled."""
        return self.root / spelled

    def study(self, name: str) -> Path:
        """Return the file of the configuration named `name`."""
        return self.root / "studies" / f"{name}.json"

    @property
    def cache(self) -> Path:
        """Folder of shards downloaded from a bucket, named by their sha256."""
        return self.root / "cache"

    @property
    def archives(self) -> Path:
        """Folder of archives that were synthesised or downloaded."""
        return self.root / "archives"

    @property
    def marks(self) -> Path:
        """Folder of all completion marks."""
        return self.root / "marks"

    def mark(self, stage: str, key: str) -> Path:
        """Return the file of one completion mark."""
        return self.marks / stage / f"{key}.json"

    def lock(self, name: str) -> Path:
        """Return the lock file of a stage, unit or study."""
        return self.root / "locks" / f"{name}.lock"

    def corpus(self, kind: str, key: str) -> "Corpus":
        """Return the folder of a corpus: `kind` is `fma`, `musdb` or `activity`."""
        return Corpus(self.root / kind / key)

    @property
    def runs(self) -> Path:
        """Folder of all GPU jobs."""
        return self.root / "runs"

    def run(self, name: str, key: str) -> Path:
        """Return the folder of one GPU job."""
        return self.runs / f"{name}-{key}"

    def model(self, key: str) -> Path:
        """Return the folder of the copy of a model that was given from outside."""
        return self.root / "models" / key

    def report(self, name: str) -> Path:
        """Return the report of a study."""
        return self.root / "reports" / name / "report.html"


class Corpus:
    """The folder of one prepared corpus."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def plan(self) -> Path:
        """The units of tracks, as planned."""
        return self.root / "plan.json"

    @property
    def units(self) -> Path:
        """The tracks of each unit of the plan."""
        return self.root / "units.jsonl"

    @property
    def index(self) -> Path:
        """Shards with their digests and counts."""
        return self.root / "index.json"

    @property
    def census(self) -> Path:
        """How many tracks were kept, filtered and quarantined, and why."""
        return self.root / "census.json"

    @property
    def card(self) -> Path:
        """What the corpus is, for people."""
        return self.root / "README.md"

    @property
    def attribution(self) -> Path:
        """Artist, title, licence and source of each kept track."""
        return self.root / ATTRIBUTION

    @property
    def tracks(self) -> Path:
        """Every track of a corpus, a row each: what it is, what became of it, its measures."""
        return self.root / "tracks.parquet"

    @property
    def songs(self) -> Path:
        """Songs of a stems corpus."""
        return self.root / "songs.jsonl"

    @property
    def activity(self) -> Path:
        """The active windows of a stems corpus."""
        return self.root / "activity.jsonl"

    @property
    def shards(self) -> Path:
        """Folder of shards."""
        return self.root / "shards"

    def shard(self, unit: str, number: int) -> Path:
        """Return shard `number` of a unit, counted from 0."""
        return self.shards / f"{unit}-{number:02d}.tar"

    def ledger(self, unit: str) -> Path:
        """Return the file with the outcome of each track of a unit."""
        return self.root / "units" / f"{unit}.jsonl"


def shard_offsets(shard: Path) -> Path:
    """Return the sidecar file with the offset of each sample in a shard."""
    return shard.with_suffix(".idx.json")
