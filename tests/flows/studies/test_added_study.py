"""A study is added as CONTRIBUTING says: one module, and its line in the table of studies.

The commands of a person then list, plan, run and rerun it in a copy of the source tree.
"""

import json
from pathlib import Path

import pytest

from tests.copied_tree import Tree
from tests.flows.conftest import Works

pytestmark = pytest.mark.slow

STUDY = '''"""How many files the archives of a scale hold: a study of two scales."""

import json
import zipfile
from collections.abc import Mapping
from typing import ClassVar

from flows.config import StudyConfig
from flows.stage_id import Role, StageId
from flows.stages.data import SYNTHESISE
from flows.stages.stage import Built, Stage
from flows.studies.runner import VariantRunner
from flows.studies.study import Results, Study
from pipelines.synthesis.config import SynthesisConfig
from storage.config import Config
from storage.files import write_json

SYNTHESISE_ID, COUNT_ID, TABLE_ID = map(StageId, ("synthesise", "count", "file table"))


class CountConfig(Config):
    """What is counted."""

    suffix: str = ".mp3"
    """Of the files."""


class FilesStudyConfig(StudyConfig):
    """Files of synthesised archives."""

    count: CountConfig = CountConfig()
    scales: tuple[int, ...] = (1, 2)
    """Tracks of each archive."""


def _count(site, config, inputs):
    found = {}
    for output in inputs["archives"].outputs:
        with zipfile.ZipFile(site.home.path(output.path)) as archive:
            names = [name for name in archive.namelist() if name.endswith(config.suffix)]
            found[output.label] = len(names)
    path = site.home.corpus("counts", site.key).root / "counts.json"
    write_json(path, found)
    return Built({"counts.json": path}, {"files": sum(found.values())})


def _tabulate(site, config, inputs):
    page = site.home.report(config.name).with_name("files.html")
    page.parent.mkdir(parents=True, exist_ok=True)
    rows = {name: mark.facts["files"] for name, mark in inputs.items()}
    page.write_text(json.dumps(rows))
    return Built({page.name: page}, {"page": site.home.spell(page)})


COUNT = Stage("count-files", 1, _count)
TABLE = Stage("file-table", 1, _tabulate, role=Role.REPORT)


def tiny_files():
    """Two archives of a track or two."""
    synthesis = SynthesisConfig(
        tracks=1, track_seconds=12, train_songs=1, validation_songs=1, test_songs=1,
        song_seconds=2, damaged=False,
    )
    return FilesStudyConfig(name="tiny_files", synthesis=synthesis)


class FilesStudy(Study[FilesStudyConfig]):
    """The study."""

    name = "files"
    parts: ClassVar[Mapping[str, str]] = {
        "files": "files of every scale, and their table",
        "files_smallest": "those of the smallest scale",
    }
    config = FilesStudyConfig
    recipes = {"tiny_files": tiny_files}

    def build_graph(self, runner, config, home, part):
        made = {}
        for tracks in config.scales if part == "files" else config.scales[:1]:
            branch = VariantRunner(runner, f"tracks-{tracks}")
            synthesis = config.synthesis.model_copy(update={"tracks": tracks})
            archives = branch.do(SYNTHESISE_ID, SYNTHESISE, synthesis, {})
            counted = branch.do(COUNT_ID, COUNT, config.count, {}, archives=archives)
            made[COUNT_ID.of(branch.variant).label] = counted
        if part == "files":
            runner.do(TABLE_ID, TABLE, config, {}, **made)

    def results(self, home, config, part, made):
        done = made.get(TABLE_ID)
        counts = [mark for what, mark in made.items() if what.work == COUNT_ID.work]
        return Results(
            headline=f"{sum(mark.facts['files'] for mark in counts)} files",
            report=done.facts["page"] if done else "",
        )
'''
COUNTED = {"count tracks-1", "count tracks-2"}
STAGES = {"synthesise tracks-1", "synthesise tracks-2", "file table"} | COUNTED


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    tree = Tree.of(tmp_path_factory.mktemp("tree"))
    tree.add("flows/studies/files.py", STUDY)
    table = "flows/studies/table.py"
    tree.insert(table, "from flows.studies.files import FilesStudy", "from flows.studies.mixit")
    tree.insert(table, "    FilesStudy(),", ")")
    return tree


def test_a_study_is_a_module_and_a_line(tree: Tree, works: Works, tmp_path: Path) -> None:
    named = ("STEMWORKS_STATE", "STEMWORKS_SERVER_PORT", "STEMWORKS_HOST")
    server = {name: works.environment[name] for name in named}
    order = ("files", "--recipe", "tiny_files", "--home", str(tmp_path), "--json")

    assert "tiny_files" in tree.run("flows", "recipe", "list").stdout
    plan = json.loads(tree.run("flows", "plan", *order).stdout)
    states = {stage["stage"]: stage["state"] for stage in plan["stages"]}
    assert states.keys() == STAGES
    assert {states[label] for label in COUNTED} == {"waiting"}

    first = json.loads(tree.run("flows", "run", *order, **server).stdout)
    run = works.last_run(tmp_path)
    assert (run["name"], run["state"]["name"]) == ("files tiny_files", "Completed")
    assert works.states(run["id"]) == dict.fromkeys(STAGES, "Completed")
    rows = json.loads(Path(first["report"]).read_text())
    assert rows == {"count tracks-1": 1, "count tracks-2": 2}
    assert first["gain"] == "3 files"
    asked = {"flow_runs": {"id": {"any_": [run["id"]]}}, "limit": 50}
    card = {one["key"]: one for one in works.api("artifacts/filter", asked)}["run-card"]["data"]
    assert card.startswith("## files tiny_files: done")
    assert "| count tracks-2 | done |" in card

    tree.run("flows", "run", *order, **server)
    assert works.states(works.last_run(tmp_path)["id"]) == dict.fromkeys(STAGES, "Cached")
    status = json.loads(tree.run("flows", "status", "--home", str(tmp_path), "--json").stdout)
    assert {stage["stage"]: stage["state"] for stage in status["tiny_files"]} == dict.fromkeys(
        STAGES, "done"
    )
    held = json.loads((tmp_path / "studies" / "tiny_files.json").read_text())
    assert (held["study"], held["parts"]) == ("files", ["files"])


def test_its_flows_take_its_own_recipes(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"flow 'files' is of study files.*tiny_files"):
        tree.run("flows", "plan", "files", "--recipe", "smoke", "--home", str(tmp_path))


QUESTION = """
from flows.engine.flow import stemworks
form = stemworks.parameters.model_dump()
assert form["properties"]["part"]["enum"][-2:] == ["files", "files_smallest"]
assert form["properties"]["recipe"]["enum"][-1] == "tiny_files"
assert {"MixitStudyConfig", "FilesStudyConfig"} <= form["definitions"].keys()
from flows.studies.files import tiny_files
given = {"part": "files", "config": tiny_files().model_dump(mode="json")}
assert stemworks.validate_parameters(given)["config"] == tiny_files()
"""


def test_the_form_offers_it(tree: Tree) -> None:
    tree.add("question.py", QUESTION)
    tree.run("question")
