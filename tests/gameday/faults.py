"""What is done to a study, where it strikes, and how the study is resumed: the documented ways."""

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from urllib.parse import urlsplit

import httpx

from flows.server.settings import ServerSettings
from storage.files import read_json
from tests.bucket import moto_server
from tests.fault_proxy import fault_proxy
from tests.flows.conftest import Works
from tests.gameday.gateway import gateway
from tests.gameday.ground import Ground
from tests.gameday.places import at_home, in_bucket
from tests.gameday.scene import LIMIT_SECONDS, LOOK_SECONDS, Scene, Trial
from tests.gameday.victims import StuckError, kill, packers, trainers
from tests.services import answers, postgres, prefect_server
from tests.small_disk import small_disk

OUTAGE_SECONDS = 15.0
"""For which a server that was killed stays away."""
SPARE_BYTES = 1_600_000_000
"""Of a small disk, beside what the home takes: more than packing keeps free."""
LEFT_BYTES = 1 << 20
"""When it is full: less than a checkpoint."""
RESUMED_SECONDS = 180.0
"""Within which a lost run that is served again begins by itself; no longer does it rest."""
EVER = 10**9
POOL = "gameday"
CHECKPOINT = "fine-tuning, after its first checkpoint"
FINAL = ("Completed", "Failed", "Crashed", "Cancelled", "TimedOut")

Fault = Callable[[Ground, Trial], None]


def follow(scene: Scene, flow: "Popen[bytes]") -> None:
    """See whether a struck command goes on by itself; where it fails, resume."""
    scene.resume("by itself")
    scene.wait_for(lambda: scene.goes_on() or flow.poll() is not None)
    if flow.poll() is None:
        scene.recovered()
    scene.saw_end(flow)
    if flow.returncode:
        scene.again()


def ride_out(
    scene: Scene, flow: "Popen[bytes]", how: str, back: Callable[[], object], up: Callable[[], bool]
) -> None:
    """Leave a service away for a while, start it again, and follow the flow that needed it."""
    time.sleep(OUTAGE_SECONDS)
    alive = flow.poll() is None
    scene.saw("the flow went on meanwhile" if alive else "the flow had ended meanwhile")
    scene.resume(how)
    back()
    scene.wait_for(up)
    scene.recovered()
    scene.saw_end(flow)
    if flow.returncode:
        scene.again()
        scene.trial.resumed = f"{how}, the same command"


def packer(ground: Ground, trial: Trial) -> None:
    """Kill the child that decodes."""
    with at_home(ground, trial, ("pack", "census")) as scene:
        words = (*ground.words("run", "fma"), "--home", scene.url)
        flow = scene.start(*words)
        child = scene.wait_for(lambda: packers(flow.pid), flow)
        scene.strike("packing, a child that decodes", lambda: kill(child[:1]))
        scene.saw_end(flow)
        ledgers = scene.folder.glob("fma/*/units/*.jsonl")
        lost = sum(path.read_text().count('"crash"') for path in ledgers)
        scene.saw(f"ledgers: {lost} tracks quarantined for 'crash'")
        scene.resume("the same command")
        if lost:
            ground.command("retry", "--reason", "crash", "--home", scene.url)
            scene.resume("retry --reason crash, the same command")
        scene.finish(scene.start(*words))


def training_child(ground: Ground, trial: Trial) -> None:
    """Kill the process that trains."""
    with at_home(ground, trial) as scene:
        flow = scene.study()
        run = scene.wait_for(scene.at_work, flow)
        scene.strike(CHECKPOINT, lambda: kill(trainers(run)))
        follow(scene, flow)


def flow_process(ground: Ground, trial: Trial) -> None:
    """Kill the command that runs the study."""
    with at_home(ground, trial) as scene:
        flow = scene.study()
        scene.wait_for(scene.at_work, flow)
        scene.strike(CHECKPOINT, lambda: kill([flow.pid]))
        scene.saw_end(flow)
        scene.saw(f"run, before anyone looks: {scene.state(scene.run)}")
        scene.again()


def serving(ground: Ground, trial: Trial) -> None:
    """Kill the process that serves the deployed study."""
    with at_home(ground, trial) as scene:
        words = (*ground.words("serve", "study"), "--home", scene.url)
        lose_worker(scene, lambda: scene.start(*words), "serve again")


def worker(ground: Ground, trial: Trial) -> None:
    """Kill the worker of the pool that the study is deployed to."""
    with at_home(ground, trial) as scene:
        words = ground.words("deploy", "study", "--pool", POOL)
        ground.command(*words, "--home", scene.url)
        lose_worker(scene, lambda: scene.start("work", POOL), "work again")


def lose_worker(scene: Scene, start: Callable[[], "Popen[bytes]"], how: str) -> None:
    """Kill what runs a deployed study, and start it again."""
    served = start()
    deployment = scene.wait_for(lambda: deployed(scene), served)
    run = scene.works.api(f"deployments/{deployment}/create_flow_run", {})["id"]
    scene.wait_for(scene.at_work, served)
    scene.strike(CHECKPOINT, served.kill)
    served.wait()
    scene.resume(how)
    if outlived := within(OUTAGE_SECONDS, scene.goes_on):
        scene.recovered()
    scene.saw(f"run, meanwhile: {scene.state(run)}; work went on: {'yes' if outlived else 'no'}")
    served = start()
    if not outlived and within(RESUMED_SECONDS, scene.goes_on):
        scene.recovered()
    if not ended(scene, run):
        raise StuckError(f"the run does not end: {scene.state(run)}")
    if not scene.state(run).startswith("Completed"):
        scene.saw(f"run, {how}: {scene.state(run)}")
        scene.resume(f"{how}, Retry in the UI")
        state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        scene.ask(f"flow_runs/{run}/set_state", {"state": state, "force": True})
        scene.wait_for(scene.goes_on, served)
        scene.recovered()
        scene.wait_for(lambda: ended(scene, run), served)


def prefect(ground: Ground, trial: Trial) -> None:
    """Kill the Prefect server."""
    with at_home(ground, trial) as scene:
        flow = scene.study()
        scene.wait_for(scene.at_work, flow)
        place = ServerSettings(ground.works.state, "127.0.0.1", ground.works.port)
        scene.strike(CHECKPOINT, lambda: kill([int(read_json(place.record)["pid"])]))
        ride_out(
            scene, flow, "stemworks ui", lambda: ground.command("ui"),
            lambda: answers(f"{place.address}/api/health"),
        )  # fmt: skip


def database(ground: Ground, trial: Trial) -> None:
    """Kill PostgreSQL under a Prefect server."""
    with postgres() as store, prefect_server(store) as server:
        port = urlsplit(server.api).port or 0
        with at_home(ground, trial) as scene:
            scene.works = Works(ground.works.state, port, ground.root)
            scene.environment |= server.client
            flow = scene.study()
            scene.wait_for(scene.at_work, flow)
            scene.strike(CHECKPOINT, store.kill)
            ride_out(
                scene, flow, "PostgreSQL started again", store.start,
                lambda: answers(f"{server.api}/ready"),
            )  # fmt: skip


def bucket_server(ground: Ground, trial: Trial) -> None:
    """Kill the S3 server under a home."""
    with (
        moto_server() as stored,
        gateway(stored) as server,
        in_bucket(ground, trial, server.endpoint) as scene,
    ):
        flow = scene.study()
        scene.wait_for(scene.at_work, flow)
        scene.strike(CHECKPOINT, server.kill)
        ride_out(scene, flow, "S3 server started again", server.start, lambda: True)


def full_disk(ground: Ground, trial: Trial) -> None:
    """Fill the disk under a home."""
    size = sum(path.stat().st_size for path in ground.undisturbed.rglob("*") if path.is_file())
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="disk-", dir=ground.root)) / "disk"
        disk = stack.enter_context(small_disk(folder, size + SPARE_BYTES))
        scene = stack.enter_context(at_home(ground, trial, home=disk.root / "home"))
        flow = scene.study()
        scene.wait_for(scene.at_work, flow)
        scene.strike(CHECKPOINT, lambda: disk.leave(LEFT_BYTES))
        scene.saw_end(flow)
        disk.free()
        scene.again()
        scene.trial.resumed = "space freed, the same command"


def refused(status: int) -> Fault:
    """Return a fault: S3 answers every write of shards so."""

    def refuse(ground: Ground, trial: Trial) -> None:
        with (
            moto_server() as stored,
            fault_proxy(stored) as (endpoint, rules),
            in_bucket(ground, trial, endpoint, ("pack", "census")) as scene,
        ):
            fault = rules.add("status", "PUT", "/fma/", amount=status, times=EVER)
            flow = scene.study()
            scene.wait_for(lambda: fault.met, flow)
            scene.strike("packing, the first write of a shard", lambda: None)
            scene.saw_end(flow)
            rules.faults.clear()
            scene.again()
            scene.trial.resumed = "writes allowed, the same command"

    return refuse


FAULTS: dict[str, Fault] = {
    "packer": packer,
    "training child": training_child,
    "flow process": flow_process,
    "serving process": serving,
    "worker": worker,
    "Prefect server": prefect,
    "PostgreSQL": database,
    "S3 server": bucket_server,
    "disk full": full_disk,
    "S3 out of space": refused(507),
    "S3 refuses access": refused(403),
}


def deployed(scene: Scene) -> str:
    """Return the deployment of the study in this home, once there is one."""
    name = {"deployments": {"name": {"any_": [f"study-{scene.ground.study}"]}}}
    rows = scene.ask("deployments/filter", name)
    # Another scene may have left one of the same name.
    return next((str(row["id"]) for row in rows if row["parameters"]["home"] == scene.url), "")


def within(seconds: float, ready: Callable[[], bool]) -> bool:
    """Say whether something came to be so in time."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def ended(scene: Scene, run: str) -> bool:
    """Wait for a flow run's good end, or until it stays at another one; say whether it ended."""
    deadline, resting = time.monotonic() + LIMIT_SECONDS, 0.0
    while time.monotonic() < deadline:
        state = scene.state(run)
        if state.startswith("Completed"):
            return True
        # One that is lost, and begun again by itself, rests at `Crashed` for a while.
        resting = (resting or time.monotonic()) if state.startswith(FINAL) else 0.0
        if resting and time.monotonic() - resting > RESUMED_SECONDS:
            return True
        time.sleep(1.0)
    return False


def hold(ground: Ground, fault: str) -> Trial:
    """Do one thing to one study; return what came of it."""
    trial, started = Trial(fault), time.monotonic()
    before = dict(os.environ)
    try:
        FAULTS[fault](ground, trial)
    except (StuckError, RuntimeError, httpx.HTTPError, TimeoutExpired) as error:
        # The other faults are to be tried all the same.
        trial.faults.append(f"{type(error).__name__}: {error}")
    finally:
        os.environ.clear()
        os.environ.update(before)
    trial.seconds = round(time.monotonic() - started, 1)
    return trial
