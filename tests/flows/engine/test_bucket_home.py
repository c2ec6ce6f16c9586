"""The whole works with its home in a bucket: done on one machine, known on the next."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.home.open import WORKING_COPIES, open_home
from tests import synthesised
from tests.bucket import ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, bucket, moto_server
from tests.fault_proxy import fault_proxy
from tests.flows.conftest import Works, scores

pytestmark = pytest.mark.slow


class Machine:
    """The command line on a machine that works in a folder of its own."""

    def __init__(self, works: Works, scratch: Path) -> None:
        self.works, self.scratch = works, scratch

    def __call__(self, *arguments: str) -> str:
        answer = self.works(*arguments, environment={WORKING_COPIES: str(self.scratch)})
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def run(self, url: str, flow: str = "study") -> dict[str, str]:
        """Run a flow; return the state name of each stage."""
        self(*self.works.order(flow, url))
        return self.works.states(self.works.last_run(url)["id"])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as server:
        yield server


@pytest.fixture(scope="module")
def url(endpoint: str) -> Iterator[str]:
    with bucket(endpoint) as address:
        yield address


@pytest.fixture(scope="module")
def first(works: Works, url: str, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine that ran the tiny study in the bucket."""
    machine = Machine(works, tmp_path_factory.mktemp("first"))
    assert set(machine.run(url).values()) == {"Completed"}
    return machine


@pytest.fixture
def second(first: Machine, tmp_path: Path) -> Machine:
    """A machine that never saw the home before."""
    return Machine(first.works, tmp_path / "second")


def objects(url: str) -> dict[str, bytes]:
    store = open_home(url).store
    rooms = ("studies", "marks", "locks", "archives", "fma", "musdb", "activity", "runs", "reports")
    return {name: store.read(name) for room in rooms for name in store.listing(room)}


def test_everything_is_in_the_bucket(first: Machine, url: str, finished: Path) -> None:
    stored = objects(url)
    here = {
        path.relative_to(finished).as_posix()
        for path in finished.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.parent.name != "tensorboard"
    }
    # Checksums of archives are kept under the time at which the archive was seen.
    rooms = ("marks", "locks", "archives")
    assert {name for name in stored if not name.startswith(rooms)} >= {
        name for name in here if not name.startswith(rooms)
    }
    for name in (name for name in here if name.endswith((".tar", ".idx.json"))):
        assert stored[name] == (finished / name).read_bytes(), "the same bytes, wherever made"
    assert not list(first.scratch.rglob("*.tar")), "shards do not stay on the machine"
    assert not [name for name in stored if name.startswith("locks/")], "every lock is let go"


def test_scores_are_those_of_a_home_on_disk(first: Machine, url: str, finished: Path) -> None:
    rows = [
        json.loads(line)
        for name, data in objects(url).items()
        if name.startswith("runs/evaluate-") and name.endswith("result/scores.jsonl")
        for line in data.decode().splitlines()
    ]
    assert sorted(rows, key=lambda row: json.dumps(row, sort_keys=True)) == scores(finished)


def test_another_machine_does_nothing_again(second: Machine, url: str) -> None:
    assert set(second.run(url).values()) == {"Cached"}
    states = json.loads(second("status", "--home", url, "--json"))["smoke"]
    assert {stage["state"] for stage in states} == {"done"}


def test_the_commands_work_from_anywhere(second: Machine, url: str) -> None:
    census = json.loads(second("census", "--home", url, "--json"))
    assert census["tracks"] == synthesised.FMA_CLIPS
    assert "0 at fault" in second("verify", "--deep", "--home", url)
    litter = json.loads(second("gc", "--home", url, "--json"))
    assert {piece["why"] for piece in litter["litter"]} <= {"checkpoint of a finished job"}
    assert "1 units" in second("retry", "--reason", "not_audio", "--home", url)
    states = second.run(url, "fma")
    assert [name for name, state in states.items() if state == "Completed"] != []
    assert states["census"] == "Cached", "packed again, the same bytes"


def test_what_the_bucket_lost_is_made_again(second: Machine, url: str) -> None:
    home = open_home(url)
    before = objects(url)
    shard = next(name for name in before if name.endswith("0002-00.tar"))
    scored = next(name for name in before if name.endswith("scores.jsonl"))
    for name in (shard, scored):
        home.store.remove(name)
    states = second.run(url)
    assert "Completed" in states.values()
    after = objects(url)
    assert after[shard] == before[shard]
    assert after[scored] == before[scored]


def test_no_secret_leaves_the_environment(
    served: Works, first: Machine, second: Machine, url: str
) -> None:
    texts = [data for data in objects(url).values()]
    texts += [path.read_bytes() for path in first.scratch.rglob("*") if path.is_file()]
    texts += [path.read_bytes() for path in served.state.rglob("*.log")]
    said = second("status", "--home", url) + second("doctor", "--home", url)
    for secret in (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN):
        assert secret not in said
        assert not [data for data in texts if secret.encode() in data]


FAULTS = (
    ("truncate", "GET", 100),
    ("refuse", "GET", 0),
    ("status", "GET", 503),
    ("reset", "GET", 10),
    ("status", "PUT", 503),
    ("forget", "PUT", 0),
    ("refuse", "PUT", 0),
    ("status", "PUT", 409),
    ("late", "PUT", 0.2),
)
"""Kind, method, and the kind's own number: where the body breaks, a status, seconds."""


def test_a_bad_connection_costs_time_and_nothing_else(
    works: Works, endpoint: str, tmp_path: Path, finished: Path
) -> None:
    machine = Machine(works, tmp_path / "scratch")
    with fault_proxy(endpoint) as (proxy, rules), bucket(proxy) as url:
        for number in range(0, 60, 2):
            kind, method, amount = FAULTS[number // 2 % len(FAULTS)]
            rules.add(kind, method, "/home/", amount=amount, first=number + 1)
        assert set(machine.run(url, "fma").values()) == {"Completed"}
        assert sum(fault.met >= fault.first for fault in rules.faults) > 20
        store = open_home(url).store
        stored = {name: store.read(name) for name in store.listing("fma")}
    shards = [name for name in stored if name.endswith(".tar")]
    assert len(shards) == len(list(finished.glob("fma/*/shards/*.tar")))
    for name in shards:
        assert stored[name] == (finished / name).read_bytes()
