"""What a start loads: the command line, a plan, a status, a flow and a training child."""

import json
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from flows.config import StudyConfig
from flows.stages.stage import Inputs, Site, perform
from flows.studies.claims import claim
from flows.studies.runner import DryRun
from flows.studies.table import named, study_of_recipe
from storage.home.layout import Home
from storage.home.marks import Mark
from tests import synthesised
from tests.flows.stages.test_stage import Silent
from tests.import_graph import ROOMS

COMMAND_LINE = {
    "annotated_doc", "annotated_types", "click", "httpx", "idna", "indexed_bzip2", "markdown_it",
    "mdurl", "pydantic", "pydantic_core", "pygments", "rich", "shellingham", "typer",
    "typing_extensions", "typing_inspection",
}  # fmt: skip
"""What a command that only looks loads."""
CHILD = {
    "_cffi_backend", "_soundfile", "_soundfile_data", "annotated_types", "pydantic",
    "pydantic_core", "safetensors", "soundfile", "typing_extensions", "typing_inspection",
}  # fmt: skip
"""What a training child loads beside torch."""
INSTALLED = set(packages_distributions()) - set(ROOMS) - {"_distutils_hack"}
FMA, METADATA = "fma_tiny.zip", "fma_tiny_metadata.zip"
COMMANDS = """
import json, sys
from flows.__main__ import app
for words in json.loads(sys.argv[1]):
    app(words, standalone_mode=False)
"""
FLOW = "import flows.engine.flow, flows.deploy.deployments"


def loaded(code: str, *arguments: str) -> set[str]:
    """Return the packages that Python code loads, but for the standard library and our own."""
    question = f"{code}\nimport sys\nprint('\\n' + ' '.join(sys.modules))"
    answer = subprocess.run(
        [sys.executable, "-c", question, *arguments], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    names = {name.split(".")[0] for name in answer.stdout.splitlines()[-1].split()}
    return names & INSTALLED


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """A home whose archive is planned and not packed, and the options that its study takes."""
    folder = tmp_path_factory.mktemp("planned")
    synthesised.write_fma(folder)
    settings = [
        "synthesis=null",
        f"data.root={folder}",
        f"fma.archive={FMA}",
        f"fma.metadata={METADATA}",
    ]
    home, config = Home(folder / "home"), named("smoke").override(settings)
    claim(home, config, "fma")
    marks = {name: build(home, config, f"check {name}", {}) for name in ("fma", "metadata")}
    build(home, config, "plan fma", marks)
    words = [word for setting in settings for word in ("--set", setting)]
    return str(home.root), ["--recipe", "smoke", "--home", str(home.root), *words]


def build(home: Home, config: StudyConfig, label: str, inputs: Inputs) -> Mark:
    """Build one stage of a study."""
    dry_run = DryRun(home)
    study_of_recipe("smoke").build_graph(dry_run, config, home, "fma")
    [found] = [status for status in dry_run.statuses if status.label == label]
    assert found.stage and found.work and found.config
    root = Path(config.data.root)
    settings = {"fma": str(root / FMA), "metadata": str(root / METADATA)}
    site = Site(home, found.work.key, Silent(), settings)
    return perform(site, found.stage, found.config, inputs).mark


def test_what_is_loaded_is_seen() -> None:
    assert {"scipy", "numpy"} <= loaded("def late():\n    import scipy.signal\nlate()")


def test_a_command_that_looks_loads_no_more_than_it_needs(
    planned: tuple[str, list[str]],
) -> None:
    """Of units, too: what their packing is, is known without what packs."""
    home, options = planned
    commands = [["plan", "fma", *options], ["status", "--home", home], ["verify", "--home", home]]
    assert loaded(COMMANDS, json.dumps(commands)) <= COMMAND_LINE


def test_a_flow_loads_no_more_than_prefect_and_the_command_line() -> None:
    assert loaded(FLOW) <= COMMAND_LINE | loaded("import prefect, prefect.deployments.runner")


def test_a_training_child_starts_with_torch_and_what_reads_data() -> None:
    verbs = ("train", "select", "evaluate")
    start = f"from training.__main__ import job_of\nfor verb in {verbs}:\n    job_of(verb)"
    assert loaded(start) <= loaded("import torch") | CHILD
