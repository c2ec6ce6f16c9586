"""A run directory is the whole message to a GPU job, and from it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import RunError
from storage.home.runs import Job, Run

JOB = Job(verb="train", inputs={"index": "/home/index.json"}, recipe={"lr": 1e-3})
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


@given(
    st.sampled_from(["train", "select", "evaluate"]),
    st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3),
    st.dictionaries(st.text(max_size=5), SCALARS, max_size=3),
)
def test_a_job_is_read_as_it_was_given(
    tmp_path_factory: pytest.TempPathFactory,
    verb: str,
    inputs: dict[str, str],
    recipe: dict[str, int],
) -> None:
    job = Job.parse({"verb": verb, "inputs": inputs, "recipe": recipe})
    run = Run(tmp_path_factory.getbasetemp() / "any-run")
    run.prepare(job)
    assert run.job() == job


def test_inputs_by_name(run: Run) -> None:
    assert JOB.path("index") == Path("/home/index.json")
    with pytest.raises(RunError, match="train job names no input 'songs' but index"):
        JOB.path("songs")
    with pytest.raises(RunError, match="but none"):
        Job(verb="select", inputs={}, recipe={}).path("songs")


@pytest.mark.parametrize(
    "text", [None, "", '{"verb": ', "[]", "{}", '{"verb": "sing", "inputs": {}, "recipe": {}}']
)
def test_what_is_no_run_directory(run: Run, text: str | None) -> None:
    run.root.mkdir()
    if text is not None:
        (run.root / "job.json").write_text(text)
    with pytest.raises(RunError, match="run is no run directory"):
        run.job()


def test_preparing_again_keeps_what_is_there(run: Run) -> None:
    """The same work is taken up where it stands."""
    run.prepare(JOB)
    (run.checkpoints / "step-1").mkdir(parents=True)
    run.log.write_text("begun\n")
    run.prepare(JOB)
    assert (run.checkpoints / "step-1").is_dir()
    assert run.log.read_text() == "begun\n"


@given(
    st.lists(st.dictionaries(st.text(max_size=4), st.integers(), max_size=3)), st.integers(1, 99)
)
def test_metrics_but_for_a_line_cut_off(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, int]], cut: int
) -> None:
    run = Run(tmp_path_factory.getbasetemp() / "cut-run")
    run.root.mkdir(exist_ok=True)
    lines = [json.dumps(row) + "\n" for row in rows]
    run.metrics.write_text("".join(lines))
    assert run.read_metrics() == rows
    last = json.dumps({"step": 7, "kind": "train"})
    run.metrics.write_text("".join(lines) + last[: min(cut, len(last) - 1)])
    assert run.read_metrics() == rows


def test_no_metrics_yet(run: Run) -> None:
    assert run.read_metrics() == []


def test_outputs_are_every_file_of_the_result_and_nothing_else(run: Run) -> None:
    assert run.outputs() == {}
    run.prepare(JOB)
    for path in (run.model / "model.json", run.channels, run.excerpts / "000" / "bass.flac"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (run.checkpoints / "step-1").mkdir(parents=True)
    outputs = run.outputs()
    assert list(outputs) == ["channels.json", "excerpts/000/bass.flac", "model/model.json"]
    assert outputs["channels.json"] == run.channels


def test_every_place_is_its_own(run: Run) -> None:
    places = {run.log, run.metrics, run.lock, run.checkpoints, run.tensorboard, run.result}
    inside = {run.model, run.channels, run.scores, run.excerpts}
    assert len(places | inside) == 10
    assert all(path.is_relative_to(run.root) for path in places)
    assert all(path.is_relative_to(run.result) for path in inside)
