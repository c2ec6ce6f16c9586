"""Every source of stems goes through the same stages, and training reads what comes out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from flows.config import SourceConfig
from flows.stages import data
from flows.stages.archives import Wanted, find
from flows.stages.stage import Performed, Site, Stage, perform
from pipelines.config import ActivityConfig, MusdbConfig
from storage.config import Config
from storage.errors import ConfigError
from storage.home.layout import Home
from storage.home.marks import Mark
from storage.home.runs import Run
from storage.records import STEMS
from tests.stem_archives import four_stems, moises_song, moisesdb, song_id, stem_folder, write_files
from tests.synthesised import RATE, write_musdb, write_zip
from training.data.stems.config import StemsData
from training.data.stems.corpus import StemCorpus
from training.data.stems.source import DynamicMixes, StemSegments

ACTIVITY = ActivityConfig(window_seconds=0.5, hop_seconds=0.25)
TITLES = ("train/Ada - One", "train/Bo - Two", "train/Di - Three", "test/Cy - Four")


@dataclass
class Notes:
    """What the stages said."""

    said: list[str] = field(default_factory=list)
    counted: list[tuple[float, float, str]] = field(default_factory=list)

    def __call__(self, done: float, total: float, note: str = "") -> None:
        self.counted.append((done, total, note))

    def log(self, message: str, level: int = 20) -> None:
        self.said.append(message)

    def waits(self, message: str) -> None:
        pass

    def attach(self, run: Run) -> None:
        pass


def do(home: Home, stage: Stage, config: Config, source: str = "", **inputs: Mark) -> Performed:
    key = stage.work(config, inputs).key
    return perform(Site(home, key, Notes(), {"musdb": source}), stage, config, inputs)


def prepare(home: Home, source: Path, config: MusdbConfig) -> tuple[Performed, Performed]:
    songs = do(home, data.UNPACK, config, str(source))
    return songs, do(home, data.ACTIVITY, ACTIVITY, songs=songs.mark)


def zip_of_musdb(folder: Path) -> Path:
    return write_musdb(folder, 1.0)


def folder_of_stems(folder: Path) -> Path:
    return write_files(folder / "stems", stem_folder(TITLES, 1.0))


def zip_of_moisesdb(folder: Path) -> Path:
    return write_zip(folder / "moisesdb.zip", moisesdb(5))


def folder_of_moisesdb(folder: Path) -> Path:
    return write_files(folder / "moisesdb", moisesdb(5))


@pytest.mark.parametrize(
    ("source", "make"),
    [
        ("musdb18hq", zip_of_musdb),
        ("folder", folder_of_stems),
        ("moisesdb", zip_of_moisesdb),
        ("moisesdb", folder_of_moisesdb),
    ],
)
def test_training_reads_every_source(
    tmp_path: Path, source: str, make: Callable[[Path], Path]
) -> None:
    home = Home(tmp_path / "home")
    place = make(tmp_path)
    config = MusdbConfig.parse({"source": source, "workers": 1})
    songs, activity = prepare(home, place, config)
    table = songs.mark.path(home, "songs.jsonl")
    corpus = StemCorpus.open(table, home.root, RATE)
    where = activity.mark.path(home, "activity.jsonl")
    mixes = DynamicMixes(corpus, where, StemsData(drop_probability=0), RATE // 2, seed=0)
    assert all(part.any() for part in mixes.example(0).parts)
    for split in ("train", "validation", "test"):
        assert len(corpus.of(split)) == songs.mark.facts[split] >= 1
    segments = StemSegments(corpus, corpus.of("validation"), RATE // 2)
    assert segments.stems(0).shape == (len(STEMS), 2, RATE // 2)
    (song,) = corpus.of("test")
    mixture = corpus.read(song, "mixture", 0, song.frames)
    np.testing.assert_allclose(corpus.read_stems(song).sum(axis=0), mixture, atol=2e-3)
    again = prepare(home, place, config)
    assert [done.cached for done in again] == [True, True]
    assert len(songs.mark.outputs) >= 5 * len(corpus.songs)


def test_a_folders_recordings_are_watched_where_they_are(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    folder = folder_of_stems(tmp_path)
    config = MusdbConfig(source="folder", workers=1)
    before, _ = prepare(home, folder, config)
    outside = [output for output in before.mark.outputs if Path(output.path).is_absolute()]
    assert {output.path for output in outside} == {str(path) for path in folder.rglob("*.wav")}
    assert not list(home.root.rglob("*.wav"))
    altered = folder / "train/Ada - One/bass.wav"
    data = bytearray(altered.read_bytes())
    data[-1] ^= 1
    altered.write_bytes(data)
    after, activity = prepare(home, folder, config)
    assert not after.cached
    assert not activity.cached
    assert after.mark.digest != before.mark.digest


def test_a_checked_folder_is_known_by_its_content(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    digests = []
    for folder in (folder_of_stems(tmp_path / "a"), folder_of_stems(tmp_path / "b")):
        data = SourceConfig(root=str(folder.parent))
        found = find(data, Wanted("stems", form="stems"))
        assert found.location == str(folder)
        digests.append(do(home, found.stage, found.config).mark.digest)
    assert digests[0] == digests[1]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    many = four_stems() | {"piano": four_stems()["bass"]}
    members = moisesdb(4) | moises_song(song_id(9), many, "Bo") | {f"{song_id(8)}/data.json": b"{"}
    source = write_files(tmp_path / "moisesdb", members)
    config = MusdbConfig(source="moisesdb", workers=1, max_stems=4, error_budget=0.5)
    notes = Notes()
    work = data.UNPACK.work(config, {})
    site = Site(home, work.key, notes, {"musdb": str(source)})
    mark = perform(site, data.UNPACK, config, {}).mark
    assert (mark.facts["filtered"], mark.facts["quarantined"]) == (1, 1)
    assert sum(mark.facts[split] for split in ("train", "validation", "test")) == 4
    assert notes.counted == [(number, 4, "songs") for number in (1, 2, 3, 4)]
    empty = [split for split in ("train", "validation", "test") if not mark.facts[split]]
    *others, line = notes.said
    assert others == [f"no song is in the '{split}' split" for split in empty]
    assert line.startswith(f"song {song_id(8)} is left out (metadata): data.json")
    assert mark.path(home, "ledger.jsonl").is_file()


@pytest.mark.parametrize(
    ("changes", "alike"),
    [
        ({"workers": 7, "error_budget": 0.5, "archive": "other.zip"}, True),
        ({"activity": {"floor": 1e-5, "zero": 1e-7}}, True),
        ({"max_stems": 4}, False),
        ({"seed": 1}, False),
        ({"test_share": 0.2}, False),
    ],
)
def test_only_what_decides_the_songs_is_in_their_key(
    changes: dict[str, object], alike: bool
) -> None:
    plain = MusdbConfig(source="moisesdb")
    other = MusdbConfig.parse({"source": "moisesdb", **changes})
    same = data.UNPACK.work(plain, {}).key == data.UNPACK.work(other, {}).key
    assert same == alike
    # What MoisesDB alone knows is nothing to MUSDB18-HQ.
    musdb = MusdbConfig.parse(changes)
    assert data.UNPACK.work(musdb, {}).key == data.UNPACK.work(MusdbConfig(), {}).key


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"0\.6 and test_share 0\.4 leave no song to train on"):
        MusdbConfig.parse({"validation_share": 0.6, "test_share": 0.4})
