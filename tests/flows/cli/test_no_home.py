"""Commands that read a home where there is none: a clear error, or a truthful empty answer."""

import json
from pathlib import Path

import pytest

from flows.__main__ import perform

USAGE = 2
READ = {
    "status": ["status"],
    "census": ["census"],
    "verify": ["verify"],
    "deep": ["verify", "--deep"],
    "gc": ["gc", "--yes"],
    "retry": ["retry", "--reason", "decode_error"],
    "lineage": ["lineage", "finetune"],
    "metrics": ["metrics"],
}
"""Commands that read the home which --home names."""
EMPTY = {
    "status": "holds no study; run one, or give another --home",
    "census": "holds no study; run one, or give another --home",
    "verify": "holds no finished work to verify; run a study, or give another --home",
    "deep": "holds no finished work to verify; run a study, or give another --home",
    "gc": "holds no study; run one, or give another --home",
    "retry": "no track is quarantined for 'decode_error'; the reasons here are: none",
    "lineage": "no finished work in",
}
"""What is said of a home in which nothing was done; metrics are all zero there."""
read = pytest.mark.parametrize("name", READ)


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None of this machine's servers and runs are looked for."""
    monkeypatch.setenv("STEMWORKS_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the one line that a command is refused with."""
    code = perform(words)
    out, err = capsys.readouterr()
    assert (code, out) == (USAGE, ""), err
    assert err.startswith("error: ") and err.count("\n") == 1
    assert "unexpected" not in err
    return err


@read
def test_no_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    home = tmp_path / "nowhere"
    said = refusal(capsys, *READ[name], "--home", str(home))
    assert f"there is no home at {home}; run a study there first, or give another --home" in said
    assert not home.exists(), "looking makes nothing"


@read
def test_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    home = tmp_path / "file"
    home.touch()
    said = refusal(capsys, *READ[name], "--home", str(home))
    assert f"--home {home} is a file; give a folder" in said


@read
def test_an_empty_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    words = [*READ[name], "--home", str(home)]
    if name in EMPTY:
        assert EMPTY[name] in refusal(capsys, *words)
    else:
        assert perform(words) == 0
        assert "# TYPE stemworks_" in capsys.readouterr().out
    assert not list(home.iterdir()), "looking makes nothing"


@pytest.mark.parametrize("kind", ["nowhere", "file", "empty"])
@pytest.mark.parametrize(
    ("words", "lacks"), [(["report"], "scores"), (["export"], "trained model")]
)
def test_run_directories(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], lacks: str, kind: str
) -> None:
    run, out = tmp_path / kind, tmp_path / "out"
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    told = f"holds no {lacks}" if kind == "empty" else "is no folder"
    more = [str(out)] if words == ["export"] else []
    said = refusal(capsys, *words, str(run), *more)
    assert f"{run} {told}; give a" in said
    assert not out.exists()


@pytest.mark.parametrize("kind", ["nowhere", "empty"])
def test_a_plan_needs_no_home_and_makes_none(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str
) -> None:
    home = tmp_path / kind
    (tmp_path / "empty").mkdir()
    words = ["plan", "fma", "--recipe", "smoke", "--home", str(home), "--json"]
    assert perform(words) == 0
    states = {stage["state"] for stage in json.loads(capsys.readouterr().out)["stages"]}
    assert states == {"missing", "waiting"}
    assert kind == "empty" or not home.exists()


def test_brackets_in_a_path_are_shown_as_they_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    home = tmp_path / "[bold]home[/]"
    assert perform(["plan", "fma", "--recipe", "smoke", "--home", str(home)]) == 0
    shown = capsys.readouterr().out.replace("\n", "").replace(" ", "")
    assert "[bold]home[/]" in shown
