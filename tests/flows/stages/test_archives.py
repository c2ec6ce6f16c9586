"""Four ways to the same music: whichever is taken, the same shards come out."""

import hashlib
import json
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows.stage_id import StageId
from flows.stages.stage import Site, Stage, perform
from flows.stages.units import Units
from flows.studies.mixit.config import MixitStudyConfig
from flows.studies.mixit.graph import build_graph
from flows.studies.mixit.recipes import RECIPES
from flows.studies.runner import DryRun, Runner
from pipelines.config import FmaConfig
from storage.config import Config, Json
from storage.errors import ConfigError, DataError, SourceError
from storage.home.layout import Home
from storage.home.marks import Mark, all_marks
from storage.home.runs import Run
from tests import synthesised
from tests.range_server import Fault, RangeServer


class Quiet:
    def __call__(self, done: float, total: float, note: str = "") -> None:
        """Show nothing."""

    def log(self, message: str, level: int = logging.INFO) -> None:
        logging.getLogger(__name__).log(level, message)

    def waits(self, message: str) -> None:
        pass

    def attach(self, run: Run) -> None:
        pass


@dataclass
class Doing(Runner[Mark]):
    """A runner that does each stage at once, without an orchestrator."""

    home: Home
    cached: dict[str, bool] = field(default_factory=dict)

    def do(
        self, what: StageId, stage: Stage, config: Config, settings: Json, **inputs: Mark
    ) -> Mark:
        site = Site(self.home, stage.work(config, inputs).key, Quiet(), settings)
        mark, self.cached[what.label] = perform(site, stage, config, inputs)
        return mark

    def pack(self, config: FmaConfig, archive: str, plan: Mark) -> Mark:
        units = Units.of(self.home, plan, config)
        return units.gather(units.pack(list(units.works), archive, Quiet()))


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> synthesised.Archives:
    return synthesised.write_fma(tmp_path_factory.mktemp("archives"))


@pytest.fixture
def served(archives: synthesised.Archives) -> RangeServer:
    return RangeServer({path.name: path for path in archives})


def study(root: Path, *settings: str) -> MixitStudyConfig:
    return RECIPES["smoke"]().override(
        [
            "synthesis=null",
            f"data.root={root}",
            "fma.archive=fma_tiny.zip",
            "fma.metadata=fma_tiny_metadata.zip",
            "fma.unit_tracks=3",
            "fma.error_budget=0.5",
            "fma.workers=1",
            *settings,
        ]
    )


def pack(home: Path, config: MixitStudyConfig) -> dict[str, bool]:
    """Pack the corpus; return which stages had been done before."""
    runner = Doing(Home(home))
    build_graph(runner, config, runner.home, "fma")
    return runner.cached


def shards(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(home.glob("fma/*/shards/*"))}


@pytest.fixture(scope="module")
def local(archives: synthesised.Archives, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("local") / "home"
    assert list(pack(home, study(archives.archive.parent))) == [
        "check fma",
        "check metadata",
        "plan fma",
        "census",
    ]
    return home


def test_read_in_place(local: Path, served: RangeServer, tmp_path: Path) -> None:
    with served as server:
        config = study(tmp_path / "root", "data.access=range", f"data.mirror={server.url('')}")
        done = pack(tmp_path / "home", config)
        assert list(done) == ["pin fma", "download metadata", "plan fma", "census"]
        assert not (tmp_path / "root/fma_tiny.zip").exists(), "never here as a whole"
        assert (tmp_path / "root/fma_tiny_metadata.zip").exists()
        asked = len(server.requests)
        assert all(pack(tmp_path / "home", config).values())
        assert len(server.requests) == asked, "what is pinned and packed is not asked for again"
    assert shards(tmp_path / "home") == shards(local)


def test_downloaded_first(local: Path, served: RangeServer, tmp_path: Path) -> None:
    with served as server:
        config = study(tmp_path / "root", "data.access=download", f"data.mirror={server.url('')}")
        assert list(pack(tmp_path / "home", config))[:2] == ["download fma", "download metadata"]
        assert shards(tmp_path / "home") == shards(local)
        asked = len(server.requests)
        done = pack(tmp_path / "home", config)
        assert list(done)[:2] == ["check fma", "check metadata"]
        assert all(done.values()), "what was compared on arrival is not read again"
        assert len(server.requests) == asked


def test_another_way_packs_nothing_again(local: Path, served: RangeServer, tmp_path: Path) -> None:
    """A home packed from a server knows the same archive on the disk as the same."""
    home = tmp_path / "home"
    with served as server:
        pack(home, study(tmp_path, "data.access=range", f"data.mirror={server.url('')}"))
    made = {path: path.stat().st_mtime_ns for path in home.glob("fma/*/shards/*")}
    marked = {mark.digest for mark in all_marks(Home(home)) if mark.stage == "census"}
    pack(home, study(served.files["fma_tiny.zip"].parent))
    assert {path: path.stat().st_mtime_ns for path in home.glob("fma/*/shards/*")} == made
    again = {mark.digest for mark in all_marks(Home(home)) if mark.stage == "census"}
    assert again == marked, "what is trained on these shards stays done"


def test_a_server_that_fails_now_and_then(local: Path, served: RangeServer, tmp_path: Path) -> None:
    served.faults += [
        Fault(),
        Fault(status=503),
        Fault(),
        Fault(cut=100),
        Fault(),
        Fault(reset=True),
    ]
    with served as server:
        pack(
            tmp_path / "home", study(tmp_path, "data.access=range", f"data.mirror={server.url('')}")
        )
    assert shards(tmp_path / "home") == shards(local)


def test_a_byte_that_is_damaged_on_its_way_costs_one_request(
    local: Path, served: RangeServer, tmp_path: Path
) -> None:
    with served as server:
        settings = ("data.access=range", f"data.mirror={server.url('')}")
        pack(tmp_path / "usual", study(tmp_path / "one", *settings))
        usual = len(server.gets())
        server.requests.clear()
        # The last request of all is for a track.
        server.faults += [*[Fault()] * (usual - 1), Fault(flip=2)]
        pack(tmp_path / "home", study(tmp_path / "two", *settings))
        assert len(server.gets()) == usual + 1
    assert shards(tmp_path / "home") == shards(tmp_path / "usual") == shards(local)


def test_another_archive_on_the_server_is_told_from_the_planned_one(
    served: RangeServer, tmp_path: Path
) -> None:
    settings = ["data.access=range"]
    with served as server:
        settings.append(f"data.mirror={server.url('')}")
        config = study(tmp_path, *settings)
        pack(tmp_path / "home", config)
        next((tmp_path / "home").glob("fma/*/shards/0001-00.tar")).unlink()
        served.etags["fma_tiny.zip"] = '"another"'
        with pytest.raises(SourceError, match="plan"):
            pack(tmp_path / "home", config)
        assert len(list((tmp_path / "home").glob("fma/*/shards/*.tar"))) == 2, "its unit alone"


def test_a_folder_of_songs(local: Path, tmp_path: Path) -> None:
    music = tmp_path / "music"
    for name, data in synthesised.fma_songs().items():
        (music / f"artist {name[:3]}" / f"{name}.mp3").parent.mkdir(parents=True, exist_ok=True)
        (music / f"artist {name[:3]}" / f"{name}.mp3").write_bytes(data)
    config = study(tmp_path, "fma.source=folder", "fma.archive=music")
    assert list(pack(tmp_path / "home", config)) == ["list fma", "plan fma", "census"]
    sizes = {path.stat().st_size for path in (tmp_path / "home").glob("fma/*/shards/*.tar")}
    assert sizes
    assert all(pack(tmp_path / "home", config).values())
    (music / "artist 000/000002.mp3").rename(music / "artist 000/renamed.mp3")
    assert not pack(tmp_path / "home", config)["list fma"]


def test_songs_of_any_name_are_packed(tmp_path: Path) -> None:
    """A name that is no text costs no track, and none is missing from the census."""
    music = tmp_path / "music"
    music.mkdir()
    names = (b"caf\xe9.mp3", b"bell\a.mp3", b"usual.mp3", b"\xff\xfe.wav")
    songs = iter(synthesised.fma_songs().values())
    for name in names[:3]:
        (music / os.fsdecode(name)).write_bytes(next(songs))
    (music / os.fsdecode(names[3])).write_bytes(b"no audio")
    config = study(tmp_path, "fma.source=folder", "fma.archive=music")
    pack(home := tmp_path / "home", config)
    (census,) = (json.loads(path.read_text()) for path in home.glob("fma/*/census.json"))
    assert census["tracks_in"] == 4
    assert census["quarantined"]["not_audio"] == 1
    rows = "".join(path.read_text() for path in home.glob("fma/*/units/*.jsonl"))
    assert rows.replace("\n", "").isprintable()
    assert {hashlib.sha1(name).hexdigest()[:12] for name in names} == {
        json.loads(line)["track"] for line in rows.splitlines()
    }
    with pytest.raises(ConfigError, match=r"m\\xe9/music: .* not UTF-8, and cannot be recorded"):
        build_graph(
            DryRun(Home(home)),
            study(Path(os.fsdecode(b"m\xe9")), "fma.source=folder", "fma.archive=music"),
            Home(home),
            "fma",
        )


def test_what_nobody_serves_is_said_before_anything_runs(tmp_path: Path) -> None:
    config = study(tmp_path, "data.access=range")
    with pytest.raises(ConfigError, match=r"no server is known to have fma_tiny.zip.*data.mirror"):
        build_graph(DryRun(Home(tmp_path / "home")), config, Home(tmp_path / "home"), "fma")


def test_a_published_archive_cut_short_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "fma_small.zip").write_bytes(b"PK" * 1000)
    (tmp_path / "fma_metadata.zip").write_bytes(b"PK" * 1000)
    config = study(tmp_path, "fma.archive=fma_small.zip")
    with pytest.raises(DataError, match="2000 bytes, not 7679594875 as published"):
        pack(tmp_path / "home", config)
