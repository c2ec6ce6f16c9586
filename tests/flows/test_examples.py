"""What the documentation shows is typed: each block of a page, in order, in one folder.

The folder has what pages speak of: a home in which the recipe `smoke` was run, a song, a folder of
songs, a checkpoint of the community, archives. `smoke` reads the tests' archives here instead of
synthesising its own. A block with a comment `not run: REASON` is left out; what it says is
accepted by `tests/test_docs.py`. Words in capitals, such as the `KEY` of a run, are filled in.
"""

import doctest
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from flows.__main__ import app
from flows.cli.views import required_studies
from storage.home.open import open_home
from storage.records import STEMS
from tests.documentation import PAGES, ROOT, Block, Command, blocks
from tests.flows.conftest import Works
from tests.synthesised import RATE, tune, write_audio
from tests.training.models.bs_roformer.community_form import (
    community_settings,
    oracle_of,
    write_yaml,
)
from training.models.bs_roformer.config import MICRO

pytestmark = pytest.mark.slow

COMMUNITY = MICRO.model_copy(update={"mask_expansion": 4, "blocks": 1})
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
WITHOUT_A_PROCESS = (
    "plan",
    "census",
    "verify",
    "report",
    "lineage",
    "export",
    "retry",
    "recipe",
    "settings",
)
"""Commands that load neither Prefect nor torch, and are run in this process."""
RUN = [
    page
    for page in PAGES
    if any(block.language in ("console", "python") and not block.reason for block in blocks(page))
]


@dataclass
class Place:
    """A folder in which what pages show is typed."""

    works: Works
    finished: Path
    """What the home of each page is a copy of."""
    keys: dict[str, str]
    """What placeholders stand in for."""
    answers: dict[str, str] = field(default_factory=dict)
    """What each command printed; one that several pages show is run once."""

    def renew_home(self) -> None:
        """Undo in the home what the page before did."""
        shutil.rmtree("home", ignore_errors=True)
        shutil.copytree(self.finished, "home")

    def type(self, block: Block, command: Command, capsys: pytest.CaptureFixture[str]) -> None:
        """Run one command; its output must be the one that is shown, if any is."""
        text = command.text
        for placeholder, value in self.keys.items():
            text = text.replace(placeholder, value)
        if text not in self.answers:
            words, _, file = text.partition(" > ")
            self.answers[text] = self._run(block, shlex.split(words, comments=True), capsys)
            if file:
                Path(file.strip()).write_text(self.answers[text])
        shown = doctest.OutputChecker().check_output(command.shown, self.answers[text], OPTIONS)
        assert shown or not command.shown, f"{block.name}: {text}\n{self.answers[text]}"

    def _run(self, block: Block, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
        if words[0] == "stemworks":
            given = [*words[1:], *self._archives_for(words)]
            if given[0] in WITHOUT_A_PROCESS:
                capsys.readouterr()
                app(given, standalone_mode=False)
                return capsys.readouterr().out
            answer = self.works(*given, environment={"COLUMNS": "80"})
        else:
            answer = subprocess.run(words, capture_output=True, text=True, check=False)
        assert not answer.returncode, f"{block.name}: {words}\n{answer.stdout}{answer.stderr}"
        return answer.stdout

    def _archives_for(self, words: list[str]) -> list[str]:
        if "smoke" not in words or "--home" not in words or "synthesis=null" in words:
            return []
        order = self.works.order("study", "home")
        return order[order.index("home") + 1 :]


def keys_of(home: Path) -> dict[str, str]:
    """Return the run directories that placeholders mean: of the fine-tuned model, as a rule."""
    marks = {one.label: one.mark for one in required_studies(open_home(str(home)))["smoke"]}
    trained, judged = marks["finetune"], marks["evaluate finetune"]
    assert trained and judged
    return {"train-KEY": f"train-{trained.key}", "evaluate-KEY": f"evaluate-{judged.key}"}


def write_checkpoint(folder: Path) -> None:
    """Write a small checkpoint in the community's form, with its YAML."""
    torch.save({"state_dict": oracle_of(COMMUNITY).state_dict()}, folder / "model.ckpt")
    write_yaml(
        folder / "model.yaml",
        community_settings(COMMUNITY),
        audio={"chunk_size": RATE},
        training={"target_instrument": None, "instruments": list(STEMS)},
    )


@pytest.fixture(scope="module")
def place(
    works: Works, finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """The folder, in which this process stays until all pages are typed."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "archives").symlink_to(works.archives)
    write_checkpoint(folder)
    write_audio(folder / "song.mp3", tune(1.5), RATE, "MPEG_LAYER_III")
    (folder / "music").mkdir()
    for pitch in (220, 330):
        write_audio(folder / "music" / f"{pitch}.flac", tune(12, pitch), RATE, "PCM_16")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in {**works.variables, "COLUMNS": "80"}.items():
            patch.setenv(name, value)
        yield Place(works, finished, keys_of(finished))


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_is_what_happens(
    place: Place, page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.renew_home()
    known: dict[str, Any] = {}
    for block in (one for one in blocks(page) if not one.reason):
        if block.language == "python":
            exec(compile(block.text, block.name, "exec"), known)
        elif block.language == "console":
            for command in block.commands:
                place.type(block, command, capsys)


def test_another_output_than_is_shown_is_found(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    block = Block(ROOT / "README.md", 1, "console", "", "$ echo one two\none ...\n$ echo one\ntwo")
    right, wrong = block.commands
    place.type(block, right, capsys)
    with pytest.raises(AssertionError, match=r"README.md:1: echo one"):
        place.type(block, wrong, capsys)
