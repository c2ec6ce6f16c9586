"""A job that a launcher starts on several hosts, here all of them this machine."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.jobs.launch import launch
from flows.jobs.multi_node import NODES, fetch, node, torchrun
from storage.environment import LAUNCHER, RENDEZVOUS
from storage.errors import ConfigError, LaunchError
from storage.home.mirror import Mirror
from storage.home.open import WORKING_COPIES, open_home
from storage.home.runs import Job, Run
from tests.bucket import bucket, moto_server
from tests.services import free_port
from tests.training.conftest import MIXIT, index, make_run, songs  # noqa: F401  fixtures

TWICE = """
import os, subprocess, sys
started = [
    subprocess.Popen(sys.argv[1:], env={**os.environ, "STEMWORKS_NODE": str(number)})
    for number in (0, 1)
]
sys.exit(max(process.wait() for process in started))
"""


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Starts a command twice on this machine."""
    script = tmp_path / "launcher.py"
    script.write_text(TWICE)
    monkeypatch.setenv(LAUNCHER.name, f"{sys.executable} {script}")
    monkeypatch.setenv(RENDEZVOUS.name, f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return str(script)


@pytest.mark.slow
def test_hosts_train_together(
    make_run: Callable[..., Run],  # noqa: F811
    launcher: str,
) -> None:
    run, alone = make_run("run", "train", MIXIT), make_run("alone", "train", MIXIT)
    launch(run, "train", 1, lambda _: None, hosts=2)
    launch(alone, "train", 2, lambda _: None)
    assert losses(run) == losses(alone) != []
    assert (run.model / "model.safetensors").is_file()


def test_a_host_that_fails_fails_the_job(
    make_run: Callable[..., Run],  # noqa: F811
    launcher: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = make_run("run", "train", MIXIT)
    # A launcher that does not tell its hosts apart.
    Path(launcher).write_text(TWICE.replace("STEMWORKS_NODE", "ANOTHER_NAME"))
    for name in NODES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LaunchError, match="no variable says which host of the job this is"):
        launch(run, "train", 1, lambda _: None, hosts=2)


def test_several_hosts_need_a_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LAUNCHER.name, raising=False)
    assert "--standalone" in torchrun(Run(tmp_path), 4, 1)
    with pytest.raises(ConfigError, match="STEMWORKS_LAUNCHER names no command"):
        torchrun(Run(tmp_path), 4, 2)


@pytest.mark.parametrize("name", NODES)
def test_schedulers_say_which_host_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in NODES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "3")
    assert node() == 3


def test_what_a_job_reads_is_brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKING_COPIES, str(tmp_path / "scratch"))
    with moto_server() as endpoint, bucket(endpoint) as url:
        home = open_home(url)
        run, model = Run(home.run("train", "key")), home.run("train", "before") / "result/model"
        songs_at, index_at = home.root / "musdb/key/songs.jsonl", home.root / "fma/key/index.json"
        files = (
            model / "model.json", model / "model.safetensors", songs_at, index_at,
            songs_at.parent / "train/a song/bass.wav", run.checkpoints / "step-00000002/state.json",
        )  # fmt: skip
        for path in (*files, index_at.parent / "shards/0000-00.tar"):
            home.write(path, path.name.encode())
        inputs = {"model": str(model), "songs": str(songs_at), "index": str(index_at)}
        run.prepare(
            Job(verb="train", inputs={**inputs, "home": url, "corpus": "fma/key"}, recipe={})
        )
        Mirror(home, run.root).push()
        (run.root / "job.json").unlink()
        fetch(home, run)
        assert run.job().inputs["songs"] == str(songs_at)
        assert [path.read_text() for path in files] == [path.name for path in files]
        assert not (index_at.parent / "shards").exists(), "clips are fetched as they are read"
        monkeypatch.setenv(WORKING_COPIES, str(tmp_path / "elsewhere"))
        with pytest.raises(ConfigError, match="the same value on every host"):
            fetch(open_home(url), run)


def losses(run: Run) -> list[tuple[int, float]]:
    rows = [row for row in run.read_metrics() if row["kind"] == "train"]
    return [(row["step"], row["loss"]) for row in rows]
