"""Slots of a machine: who waits is told for whom, and no slot outlives the run that held it."""

import threading
import uuid
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.engine import machine_slots
from flows.engine.machine_slots import slots
from flows.jobs.deadlines import stopping
from flows.recovery import heartbeats
from storage.environment import HOST
from storage.errors import RunError, StoppedError
from storage.files import write_json
from storage.processes import identity
from tests.flows.conftest import Works

LIMIT_SECONDS = 60.0


@pytest.fixture
def limit(works: Works, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A limit of one slot that no other test knows."""
    host = f"machine-{uuid.uuid4().hex[:8]}"
    for name, value in works.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(HOST.name, host)
    monkeypatch.setattr(machine_slots, "LOOK_SECONDS", 0.1)
    works.api("v2/concurrency_limits/", {"name": f"packing:{host}", "limit": 1})
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{works.port}/api"}):
        yield f"packing:{host}"
    stopping.clear()


def test_the_second_waits_for_the_first_and_says_so(limit: str) -> None:
    said, told, got = list[str](), threading.Event(), threading.Event()

    def say(line: str) -> None:
        said.append(line)
        told.set()

    def second() -> None:
        with slots("packing", "run 'study second' in there", say):
            got.set()

    with slots("packing", "run 'study first' in here", said.append):
        waiting = threading.Thread(target=copy_context().run, args=(second,))
        waiting.start()
        assert told.wait(LIMIT_SECONDS)
        pid = identity()["pid"]
        assert not got.wait(0.5)
        assert said == [
            f"waits for run 'study first' in here (pid {pid}): no slot of {limit} is free"
        ], "once"
    waiting.join()
    assert got.is_set()


@pytest.mark.slow
def test_a_second_run_of_this_machine_says_for_whom_it_waits(
    limit: str, works: Works, tmp_path: Path
) -> None:
    """A real run that finds another one packing waits without an error, then packs."""
    home, said = tmp_path / "home", list[str]()
    with slots("packing", "run 'study first' in here", str):
        other = works.start(*works.order("fma", home), **{HOST.name: limit.partition(":")[2]})
        assert other.stdout
        for line in other.stdout:
            said.append(line)
            if "waits for" in line:
                break
        # Prefect's own way of waiting would log an error every so often.
        assert other.poll() is None
        assert not list(home.glob("marks/pack/*"))
    rest, _ = other.communicate(timeout=LIMIT_SECONDS * 5)
    assert other.returncode == 0, "".join(said) + rest
    assert f"waits for run 'study first' in here (pid {identity()['pid']})" in said[-1]
    assert "ERROR" not in "".join(said) + rest
    assert list(home.glob("marks/pack/*.json"))


def test_who_waits_ends_with_its_flow(limit: str) -> None:
    with (
        slots("packing", "run 'study first' in here", str),
        pytest.raises(StoppedError, match=rf"stopped with its flow, while waiting for {limit}"),
        slots("packing", "run 'study second' in there", lambda _: stopping.set()),
    ):
        pytest.fail("nobody works without the slot")


def test_a_limit_that_was_deleted_is_made_again(
    limit: str, works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOST.name, f"{limit.partition(':')[2]}-deleted")
    with slots("packing", "run 'study first' in here", str):
        rows = works.api("v2/concurrency_limits/filter", {"limit": 200})
        assert {row["name"]: row["active_slots"] for row in rows}[f"{limit}-deleted"] == 1


def test_more_slots_than_an_operator_allows_are_refused(
    limit: str, works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_slots, "capacity", lambda _: 8)
    with (
        pytest.raises(RunError, match=rf"refuses 2 slots of {limit} \(422: .*greater than the li"),
        slots("packing", "run 'study first' in here", str, 2),
    ):
        pytest.fail("nobody works without the slots")


def test_where_nothing_is_shared_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOST.name, "")
    nobody = temporary_settings({PREFECT_API_URL: "http://127.0.0.1:1/api"})
    with nobody, slots("packing", "a run", str), slots("packing", "another run", str):
        pass


def test_the_heartbeat_of_a_dead_holder_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEMWORKS_STATE", str(tmp_path))
    dead = tmp_path / "slots" / "dead.json"
    write_json(dead, identity() | {"pid": 1 << 30, "limit": "packing:x", "run": "run 'study old'"})
    with heartbeats.slot_heartbeat("packing:x", "run 'study new'"):
        with heartbeats.slot_heartbeat("gpu:x", "run 'study other'"):
            found = heartbeats.slot_heartbeats("packing:x")
        assert [str(one) for one in found] == [f"run 'study new' (pid {identity()['pid']})"]
        assert not dead.exists()
    assert not heartbeats.slot_heartbeats("packing:x")
