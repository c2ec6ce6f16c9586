"""Every path in the system is spelled here and nowhere else."""

from pathlib import Path

from storage.errors import ConfigError, MachineError


class Home:
    """The folder under which everything that a study makes lies.

    ::

        studies/<name>.json                the one configuration that this name stands for
        archives/                          archives made or fetched
        marks/<stage>/<key>.json           completion marks, written last
        locks/<name>.lock                  held while a stage or unit is being done
        fma/<key>/plan.json                units, frozen
        fma/<key>/units/0003.jsonl         what became of each track of unit 0003
        fma/<key>/shards/0003-00.tar       clips; 0003-00.idx.json: where each lies in it
        fma/<key>/index.json census.json   what the units add up to
        musdb/<key>/train|test/<song>/     stems as WAV
        musdb/<key>/songs.jsonl            songs with their split
        activity/<key>/activity.jsonl      where each stem sounds
        runs/<name>-<key>/                 one GPU job: job.json, log.txt, metrics.jsonl, result/
        reports/<name>/report.html         the page
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def open(cls, text: str) -> "Home":
        """Return the home at a folder's path, which need not exist yet.

        Raises:
            ConfigError: the path is a bucket's, which is not supported yet.
            MachineError: something other than a folder is there.
        """
        if "://" in text:
            raise ConfigError(
                f"--home {text}: homes in a bucket are not supported yet; give a folder"
            )
        root = Path(text).expanduser().resolve()
        if root.exists() and not root.is_dir():
            raise MachineError(f"--home {root} is a file; give a folder")
        return cls(root)

    def relative(self, path: Path) -> str:
        """Return a path as marks spell it: relative to the home if inside it, else absolute."""
        return path.relative_to(self.root).as_posix() if self.holds(path) else str(path)

    def holds(self, path: Path) -> bool:
        """Say whether a path lies under this home."""
        return path.is_relative_to(self.root)

    def path(self, spelled: str) -> Path:
        """Return the path that `relative` spelled."""
        return self.root / spelled

    def study(self, name: str) -> Path:
        """Return where the configuration that `name` stands for is kept."""
        return self.root / "studies" / f"{name}.json"

    @property
    def archives(self) -> Path:
        """Folder of archives made here."""
        return self.root / "archives"

    @property
    def marks(self) -> Path:
        """Folder of all completion marks."""
        return self.root / "marks"

    def mark(self, stage: str, key: str) -> Path:
        """Return where one completion mark lies."""
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

    def report(self, name: str) -> Path:
        """Return the page of a study."""
        return self.root / "reports" / name / "report.html"


class Corpus:
    """The folder of one prepared corpus."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def plan(self) -> Path:
        """Units of tracks, frozen."""
        return self.root / "plan.json"

    @property
    def index(self) -> Path:
        """Shards with their digests and counts."""
        return self.root / "index.json"

    @property
    def census(self) -> Path:
        """What became of every track, summed up."""
        return self.root / "census.json"

    @property
    def songs(self) -> Path:
        """Songs of a stems corpus."""
        return self.root / "songs.jsonl"

    @property
    def activity(self) -> Path:
        """Active windows of a stems corpus."""
        return self.root / "activity.jsonl"

    @property
    def shards(self) -> Path:
        """Folder of tars."""
        return self.root / "shards"

    def shard(self, unit: str, number: int) -> Path:
        """Return the tar of a unit, counted from 0."""
        return self.shards / f"{unit}-{number:02d}.tar"

    def ledger(self, unit: str) -> Path:
        """Return what became of each track of a unit."""
        return self.root / "units" / f"{unit}.jsonl"


def shard_offsets(shard: Path) -> Path:
    """Return the sidecar that says where each sample lies in a tar."""
    return shard.with_suffix(".idx.json")
