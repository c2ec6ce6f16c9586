"""A stage is done exactly once, told apart by what decides its result, and says when it failed."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.stages.stage import Built, Inputs, Site, Stage, forget, perform
from storage.config import Config, Json
from storage.errors import DataError, LockedError, MachineError, StemworksError
from storage.files import only_one
from storage.home.failures import last_failure
from storage.home.layout import Home
from storage.home.marks import Mark, lookup
from storage.home.runs import Run

CHAIN = ("first", "second", "third")


class Text(Config):
    """What a toy stage writes, and how fast."""

    RUNTIME: ClassVar[frozenset[str]] = frozenset({"speed"})

    text: str = "la"
    speed: int = 1


class Silent:
    """A watch that nobody looks at."""

    def __call__(self, done: float, total: float, note: str = "") -> None:
        pass

    def log(self, message: str, level: int = 20) -> None:
        pass

    def waits(self, message: str) -> None:
        pass

    def attach(self, run: Run) -> None:
        pass


@dataclass
class Bench:
    """A home, toy stages in it, and the names of those that were built."""

    home: Home
    built: list[str] = field(default_factory=list)
    error: BaseException | None = None

    def stage(self, name: str = "first", version: int = 1, **kind: Any) -> Stage:
        """Return a stage that writes its config's text after its inputs' texts."""

        def build(site: Site, config: Text, inputs: Inputs) -> Built:
            self.built.append(name)
            if self.error:
                raise self.error
            before = [mark.path(self.home, "out").read_text() for mark in inputs.values()]
            path = self.home.root / name / site.key / "out.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(before) + config.text)
            return Built({"out": path}, {"letters": len(config.text)})

        return Stage(name, version, build, folder=self.folder(name), **kind)

    def folder(self, name: str) -> Any:
        return lambda home, key: home.root / name / key

    def do(self, stage: Stage, config: Text | None = None, **inputs: Mark) -> Mark:
        """Perform one stage."""
        config = config or Text()
        site = Site(self.home, stage.work(config, inputs).key, Silent())
        mark, cached = perform(site, stage, config, inputs)
        assert cached == (stage.name not in self.built)
        return mark

    def chain(self, config: Text | None = None) -> list[Mark]:
        """Perform three stages, each of which needs the one before; forget what was built."""
        self.built.clear()
        marks: list[Mark] = []
        for name in CHAIN:
            given = {"before": marks[-1]} if marks else {}
            marks.append(self.do(self.stage(name), config if not marks else None, **given))
        return marks


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Home(tmp_path / "home"))


@contextmanager
def fresh_bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as folder:
        yield Bench(Home(Path(folder)))


def test_done_once(bench: Bench) -> None:
    first = bench.do(bench.stage())
    assert bench.built == ["first"]
    assert first.facts == {"letters": 2}
    assert first.path(bench.home, "out").read_text() == "la"
    bench.built.clear()
    assert bench.do(bench.stage()) == first
    assert bench.built == []


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), max_size=8))
def test_built_once_per_config_that_matters(asked: list[tuple[str, int]]) -> None:
    """However often and fast it is asked for."""
    with fresh_bench() as bench:
        for text, speed in asked:
            config = Text(text=text, speed=speed)
            perform(Site(bench.home, text, Silent()), bench.stage(), config, {})
        assert len(bench.built) == len(_all(bench)) == len({text for text, _ in asked})


def _all(bench: Bench) -> list[Mark]:
    paths = bench.home.marks.glob("*/*.json")
    return [Mark.model_validate_json(path.read_text()) for path in paths]


@settings(max_examples=12, deadline=None)
@given(st.sets(st.sampled_from(range(3))))
def test_what_is_lost_alone_is_built_again(lost: set[int]) -> None:
    """A rebuilt output with the same content leaves what follows it done."""
    with fresh_bench() as bench:
        before = bench.chain()
        for number in lost:
            before[number].path(bench.home, "out").unlink()
        after = bench.chain()
        assert bench.built == [CHAIN[number] for number in sorted(lost)]
        assert [mark.digest for mark in after] == [mark.digest for mark in before]


def test_other_content_does_what_follows_again(bench: Bench) -> None:
    bench.chain()
    bench.chain(Text(text="other"))
    assert bench.built == list(CHAIN)
    bench.chain()
    assert bench.built == [], "the first result is still there"


def test_the_same_content_by_another_way_is_the_same(bench: Bench) -> None:
    """A stage that drops what it was given cuts the chain early."""

    def deaf(site: Site, config: Text, inputs: Inputs) -> Built:
        path = bench.home.root / f"deaf-{site.key}.txt"
        path.write_text("always this")
        return Built({"out": path}, {})

    stage = Stage("deaf", 1, deaf)
    marks = []
    for text in ("one", "two"):
        bench.built.clear()
        heard = bench.do(bench.stage("first"), Text(text=text))
        bench.built.append("deaf")
        marks.append(bench.do(stage, Text(), heard=heard))
    assert marks[0].key != marks[1].key
    last = bench.stage("last")
    bench.do(last, Text(), before=marks[0])
    bench.built.clear()
    bench.do(last, Text(), before=marks[1])
    assert bench.built == []


def test_a_raised_version_is_other_work(bench: Bench) -> None:
    old = bench.do(bench.stage(version=1))
    bench.built.clear()
    new = bench.do(bench.stage(version=2))
    assert bench.built == ["first"]
    assert new.key != old.key
    assert new.digest == old.digest


def test_what_matters_may_be_less_than_the_config(bench: Bench) -> None:
    stage = bench.stage(matters=lambda config: {"length": len(config.text)})
    mark = bench.do(stage, Text(text="one"))
    bench.built.clear()
    assert bench.do(stage, Text(text="two")) == mark
    bench.built.clear()
    assert bench.do(stage, Text(text="three")).key != mark.key


class Renamed(Text):
    """Keyed by the name that its setting had first."""

    def what_matters(self) -> Json:
        return {"words": self.text}


def test_a_config_says_itself_what_matters(bench: Bench) -> None:
    assert bench.stage().work(Renamed(text="one"), {}).config == {"words": "one"}


@pytest.mark.parametrize("error", [DataError("bad sound"), OSError(5, "broken disk")])
def test_a_failure_is_noted_until_it_succeeds(bench: Bench, error: Exception) -> None:
    stage = bench.stage()
    work = stage.work(Text(), {})
    assert last_failure(bench.home, work) == ""
    bench.error = error
    with pytest.raises(type(error)):
        bench.do(stage)
    assert last_failure(bench.home, work) == str(error)
    assert lookup(bench.home, work).mark is None
    bench.error = None
    bench.built.clear()
    bench.do(stage)
    assert not list(bench.home.marks.rglob("*.failed"))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143)])
def test_an_interruption_is_no_failure(bench: Bench, error: BaseException) -> None:
    stage = bench.stage()
    bench.error = error
    with pytest.raises(type(error)):
        bench.do(stage)
    assert last_failure(bench.home, stage.work(Text(), {})) == ""
    assert _all(bench) == []


def test_an_output_that_was_not_made_leaves_no_mark(bench: Bench) -> None:
    stage = Stage("liar", 1, lambda *_: Built({"out": bench.home.root / "nothing"}, {}))
    with pytest.raises((StemworksError, OSError)):
        bench.do(stage)
    assert _all(bench) == []


def test_another_process_is_at_it(bench: Bench) -> None:
    stage = bench.stage()
    lock = bench.home.lock(stage.work(Text(), {}).name)
    code = (
        "import sys; from pathlib import Path; from storage.files import only_one\n"
        "with only_one(Path(sys.argv[1]), 'x'): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"stage first .*pid {holder.pid}"):
            bench.do(stage)
        assert bench.built == []
        assert last_failure(bench.home, stage.work(Text(), {})) == ""
        holder.kill()
    bench.do(stage)
    assert bench.built == ["first"], "the lock died with its holder"


def test_done_work_needs_no_lock(bench: Bench) -> None:
    stage = bench.stage()
    mark = bench.do(stage)
    bench.built.clear()
    with only_one(bench.home.lock(stage.work(Text(), {}).name), "x"):
        assert bench.do(stage) == mark


def test_forgetting_throws_its_folder_away_and_no_other(bench: Bench) -> None:
    marks = bench.chain()
    stage = bench.stage("second")
    forget(bench.home, stage, stage.work(Text(), {"before": marks[0]}))
    assert not marks[1].path(bench.home, "out").parent.exists()
    assert marks[0].path(bench.home, "out").exists()
    assert [mark.digest for mark in bench.chain()] == [mark.digest for mark in marks]
    assert bench.built == ["second"]
    forget(bench.home, stage, stage.work(Text(text="never done"), {}))


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bench = Bench(Home(tmp_path / "file"))
    with pytest.raises(MachineError, match="is a file, not a folder"):
        bench.do(bench.stage())
