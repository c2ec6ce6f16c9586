"""Each mistake a person makes ends with one clear sentence, its exit code, and a usable home."""

import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import synthesised
from tests.flows.conftest import Works

SETTING, ARCHIVE, RUN, MACHINE = 2, 3, 4, 5


def complaint(works: Works, code: int, *arguments: str, **variables: str) -> str:
    """Return the one sentence that a refused command ends with."""
    answer = works(*arguments, environment=variables)
    assert answer.returncode == code, answer.stdout + answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
    said = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1, answer.stderr
    return said[0]


def test_unknown_recipe_flow_and_stage(works: Works, tmp_path: Path) -> None:
    home = str(tmp_path)
    said = complaint(works, SETTING, "run", "study", "--recipe", "dmeo", "--home", home)
    assert "unknown recipe 'dmeo'; did you mean 'demo'?" in said
    said = complaint(works, SETTING, "run", "studio", "--recipe", "smoke", "--home", home)
    assert "unknown flow 'studio'; did you mean 'study'?" in said
    order = works.order("study", tmp_path)
    said = complaint(works, SETTING, *order, "--force", "pertrain")
    assert "unknown stage 'pertrain'; did you mean 'pretrain'?" in said


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "pretraining.schedule.decai=1",
            "pretraining.schedule has no 'decai'; did you mean 'decay'?",
        ),
        ("pretraining.optim.lr=fast", "'pretraining.optim.lr' = 'fast'"),
        ("pretraining.optim.lr=-1", "'pretraining.optim.lr' = -1"),
        ("fma.filters.mono=triplicate", "'fma.filters.mono' = 'triplicate'"),
        ("pretraining.optim.lr", "has no '='"),
        ("name=../elsewhere", "'name' = '../elsewhere'"),
    ],
)
def test_wrong_settings(works: Works, tmp_path: Path, setting: str, said: str) -> None:
    assert said in complaint(works, SETTING, *works.order("study", tmp_path, setting))


def test_missing_archive(works: Works, tmp_path: Path) -> None:
    order = works.order("study", tmp_path / "home", f"data.root={tmp_path}")
    said = complaint(works, ARCHIVE, *order)
    assert f"archive {tmp_path}/musdb_tiny.zip is missing" in said
    assert "data.root" in said


def test_corrupt_archive(works: Works, copied: Path, tmp_path: Path) -> None:
    archives = Path(shutil.copytree(works.archives, tmp_path / "archives"))
    (archives / "fma_tiny.zip").write_bytes(b"PK" + os.urandom(5000))
    order = works.order("fma", copied, f"data.root={archives}")
    said = complaint(works, ARCHIVE, *order)
    assert "fma_tiny.zip" in said
    # The home is none the worse for it: with the archive mended, the same command goes through.
    shutil.copy(works.archives / "fma_tiny.zip", archives)
    assert works(*order).returncode == 0


def test_wrong_checksum(works: Works, tmp_path: Path) -> None:
    order = works.order("fma", tmp_path / "home", f"fma.sha1={'0' * 40}")
    said = complaint(works, ARCHIVE, *order)
    assert "0" * 40 in said
    assert "sha1" in said


def test_too_many_damaged_tracks(works: Works, tmp_path: Path) -> None:
    home = tmp_path / "home"
    said = complaint(works, ARCHIVE, *works.order("fma", home, "fma.error_budget=0.1"))
    assert "3 of 9 tracks are quarantined" in said
    # What was packed stays packed; a larger budget is a new question to the same units.
    shards = {path: path.stat().st_mtime_ns for path in home.glob("fma/*/shards/*.tar")}
    assert works(*works.order("fma", home, "name=again")).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in shards} == shards


def test_home_of_another_configuration(works: Works, copied: Path) -> None:
    said = complaint(works, SETTING, *works.order("musdb", copied, "fma.seed=7"))
    assert "fma.seed: 0 -> 7" in said
    assert "--set name=NAME" in said
    assert works(*works.order("musdb", copied, "fma.seed=7", "name=other")).returncode == 0


def test_home_is_a_file_or_a_bucket(works: Works, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file" in complaint(works, SETTING, *works.order("fma", tmp_path / "file"))
    for address in ("gs://bucket/home", "s3://", "s3://key:secret@bucket/home"):
        said = complaint(works, SETTING, "run", "fma", "--recipe", "smoke", "--home", address)
        assert "bucket" in said.lower()
        assert "secret" not in said


def test_no_space(works: Works, tmp_path: Path) -> None:
    """A disk of 4 MB, mounted for the test, fills while stems are unpacked."""
    home = tmp_path / "small"
    home.mkdir()
    if os.geteuid() or os.system(f"mount -t tmpfs -o size=4m none {home} 2>/dev/null"):
        home.rmdir()
        home = Path("/dev/full/home")
        assert "cannot write" in complaint(works, MACHINE, *works.order("musdb", home))
        return
    try:
        said = complaint(works, MACHINE, *works.order("musdb", home))
        assert "GB are free" in said
        assert "--home" in said
    finally:
        os.system(f"umount {home}")


def test_no_ffmpeg(works: Works, tmp_path: Path) -> None:
    order = works.order("study", tmp_path, "evaluation.museval=true")
    said = complaint(works, MACHINE, *order, PATH=str(tmp_path))
    assert "ffmpeg" in said
    assert "evaluation.museval" in said


@pytest.fixture
def other_program() -> Iterator[int]:
    """Something that is no Prefect server listens on a port."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_port_in_use(works: Works, tmp_path: Path, other_program: int) -> None:
    said = complaint(
        works,
        MACHINE,
        *works.order("fma", tmp_path / "home"),
        STEMWORKS_STATE=str(tmp_path / "state"),
        STEMWORKS_SERVER_PORT=str(other_program),
    )
    assert f"port {other_program} on 127.0.0.1 is in use" in said
    assert "STEMWORKS_SERVER_PORT" in said


def test_no_server_where_one_is_named(works: Works, tmp_path: Path) -> None:
    api = "http://127.0.0.1:9/api"
    said = complaint(works, MACHINE, *works.order("fma", tmp_path), PREFECT_API_URL=api)
    assert f"PREFECT_API_URL={api}" in said


def test_unreadable_checkpoint(works: Works, tmp_path: Path) -> None:
    song = tmp_path / "song.flac"
    song.write_bytes(synthesised.as_file(synthesised.tune(1.0), kind="FLAC"))
    out = str(tmp_path / "out")
    missing = ["separate", str(tmp_path / "nowhere"), str(song), out]
    assert "holds no model.json" in complaint(works, RUN, *missing)
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"garbage")
    said = complaint(works, RUN, "separate", str(model), str(song), out)
    assert str(model) in said


def test_separate_without_songs(works: Works, tmp_path: Path) -> None:
    assert "no such song" in complaint(
        works, SETTING, "separate", str(tmp_path), str(tmp_path / "missing.mp3"), str(tmp_path)
    )
