"""The images and the compose file say what is so. No engine is needed, so none of it is run."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from packaging.requirements import Requirement

from flows.__main__ import app
from flows.studies.table import RECIPES
from tests.services import Redis

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
IMAGES = [path for path in DOCKERFILES if path.stem != "bucket"]
"""Of our own code; `bucket` is somebody else's image with a folder for its user."""
OURS = ("init", "deploy", "worker", "deploy-gpu", "worker-gpu", "flows")
AT_WORK = ("worker", "worker-gpu", "flows")
"""Those in which jobs run."""
SERVERS = ("server", "services")
SECRETS = {"POSTGRES_PASSWORD", "PREFECT_AUTH_STRING", "PREFECT_ENCRYPTION_KEY"}
SECRETS |= {"BUCKET_ACCESS_KEY", "BUCKET_SECRET_KEY"}
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")

Compose = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> Compose:
    content: Compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return content


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """Each instruction of a Dockerfile and its words, comments dropped and lines joined."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    pairs = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name, words) for name, words in pairs]


def words_of(dockerfile: Path, name: str) -> list[str]:
    return [words for instruction, words in instructions(dockerfile) if instruction == name]


def images(compose: Compose) -> list[str]:
    bases = [image for path in DOCKERFILES for image in words_of(path, "FROM")]
    return bases + [service["image"] for service in compose["services"].values()]


def health(service: Compose) -> str:
    """Return what asks a service how it is: its own check, or its image's."""
    own = service.get("healthcheck", {}).get("test")
    given = [own] if own else words_of(ROOT / service["build"]["dockerfile"], "HEALTHCHECK")
    return " ".join(map(str, given))


def filled_in(text: str) -> str:
    """A value as compose reads it when only what must be given is."""
    return VARIABLE.sub(lambda match: match[3] if match[2] == ":-" else "given", text)


def test_there_are_three_images() -> None:
    names = ["bucket.Dockerfile", "flows.Dockerfile", "training.Dockerfile"]
    assert [path.name for path in DOCKERFILES] == names


def test_images_are_pinned_by_version(compose: Compose) -> None:
    for image in images(compose):
        tag = image.partition("@")[0].rpartition(":")[2]
        assert re.match(r"\d+\.\d+", tag) and "latest" not in tag, image
    python = {path.read_text().count("FROM python:3.11.14-slim-trixie\n") for path in IMAGES}
    assert python == {1}


def test_the_server_is_the_very_prefect_of_its_clients(compose: Compose) -> None:
    """From the lock: nobody else's image brings another fastapi, or a server older than these."""
    locked = (ROOT / "requirements.lock").read_text()
    assert {"prefect", "prefect-redis", "asyncpg", "redis"} <= set(requirements(locked))
    for name in SERVERS:
        service = compose["services"][name]
        assert service["image"] == compose["services"]["flows"]["image"]
        assert service["entrypoint"] == ["/usr/bin/tini", "--", "prefect"]


def test_the_server_in_two_parts_is_one(compose: Compose) -> None:
    """One answers, one does the rest; what they share is in the database and in Redis."""
    server, services = (compose["services"][name] for name in SERVERS)
    assert server["command"] == ["server", "start", "--no-services"]
    assert services["command"] == ["server", "services", "start"]
    shared, own = server["environment"], services["environment"]
    assert own == {**shared, "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false"}
    for name, value in Redis("redis", [], lambda: True, port=6379).settings.items():
        # The same settings as the topology that tests/flows/engine/test_topology.py runs.
        assert shared[name] == value.replace("127.0.0.1", "queue")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_what_is_copied_exists_and_is_not_ignored(dockerfile: Path) -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignore
    for words in words_of(dockerfile, "COPY"):
        for source in words.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignore, source


@pytest.mark.parametrize("dockerfile", IMAGES, ids=lambda path: path.stem)
def test_every_package_is_copied(dockerfile: Path) -> None:
    copied = {words.split()[0] for words in words_of(dockerfile, "COPY")}
    assert {"flows", "pipelines", "training", "storage", "pyproject.toml"} <= copied


def test_layers_that_change_often_come_last() -> None:
    """The packages, of GB, before the code, of kB; and no layer keeps what it only passes on."""
    for dockerfile in IMAGES:
        copied = words_of(dockerfile, "COPY")
        assert copied[0].split()[0] == "requirements.lock"
        commands = words_of(dockerfile, "RUN")
        assert all("--no-cache-dir" in words for words in commands if "pip install" in words)
        assert all("rm -rf /var/lib/apt/lists" in words for words in commands if "apt-get" in words)


@pytest.mark.parametrize("dockerfile", IMAGES, ids=lambda path: path.stem)
def test_containers_run_as_nobody_special_under_tini(dockerfile: Path) -> None:
    assert words_of(dockerfile, "USER") == ["1000:1000"]
    [entry] = words_of(dockerfile, "ENTRYPOINT")
    assert entry == '["/usr/bin/tini", "--", "stemworks"]'
    assert "tini" in words_of(dockerfile, "RUN")[0]
    [check] = words_of(dockerfile, "HEALTHCHECK")
    code = yaml.safe_load(check.partition("CMD ")[2])[2]
    compile(code, dockerfile.name, "exec")


def test_every_service_runs_as_nobody_special(compose: Compose) -> None:
    assert all(words_of(dockerfile, "USER") == ["1000:1000"] for dockerfile in DOCKERFILES)
    for name, service in compose["services"].items():
        assert "build" in service or service["user"] in ("postgres", "redis"), name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.get("privileged")


def test_every_service_says_when_it_is_ill(compose: Compose) -> None:
    for name, service in compose["services"].items():
        assert health(service), name


def test_only_the_server_reaches_the_database(compose: Compose) -> None:
    """Workers run whatever a deployment says: they are to reach the API and the homes alone."""
    assert compose["networks"]["control"] == {"internal": True}
    on = {name: set(service["networks"]) for name, service in compose["services"].items()}
    control = {name for name, networks in on.items() if "control" in networks}
    assert control == {"database", "queue", "server", "services"}
    assert {name for name, networks in on.items() if len(networks) > 1} == {"server"}


def test_homes_are_in_the_bucket(compose: Compose) -> None:
    for name in OURS:
        service = compose["services"][name]
        command = service["command"]
        homes = [command[at + 1] for at, word in enumerate(command) if word == "--home"]
        assert homes == ([] if command[0] in ("init", "work") else ["s3://stemworks/home"])
        variables = service["environment"]
        assert variables["STEMWORKS_S3_ENDPOINT"] == "http://bucket:8333"
        assert variables["AWS_SECRET_ACCESS_KEY"].startswith("${BUCKET_SECRET_KEY:?")
        assert variables["STEMWORKS_SCRATCH"] == "/opt/stemworks/home"
    assert compose["services"]["bucket"]["command"] == ["-bucket=stemworks"]


def test_ports_are_published_on_loopback_only(compose: Compose) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert [filled_in(port) for port in ports] == ["127.0.0.1:4200:4200"]


def test_secrets_have_no_value_in_any_file(compose: Compose) -> None:
    text = "".join(path.read_text() for path in DOCKER.rglob("*") if path.is_file())
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|AUTH_STRING|SECRET|TOKEN|KEY", name):
                match = VARIABLE.fullmatch(value)
                assert match and match[1] in SECRETS and match[2] == ":?", name
            else:
                assert not [secret for secret in SECRETS if f"{{{secret}" in value], name
    assert not re.search(r"://[^/\s:]+:[^/\s@]+@", text)
    assert not [path for path in DOCKERFILES if "PASSWORD" in path.read_text()]


def test_every_variable_is_explained(compose: Compose) -> None:
    used = {match[1] for match in VARIABLE.finditer((DOCKER / "compose.yaml").read_text())}
    readme = (DOCKER / "README.md").read_text()
    assert used >= SECRETS
    assert not [name for name in used if f"`{name}`" not in readme]


def test_every_name_leads_somewhere(compose: Compose) -> None:
    services, volumes = compose["services"], set(compose["volumes"])
    mounted = set()
    for service in services.values():
        for other, how in service.get("depends_on", {}).items():
            once = services[other]["restart"] == "no"
            assert how["condition"] == f"service_{'completed_successfully' if once else 'healthy'}"
        mounts = [filled_in(mount).split(":") for mount in service.get("volumes", [])]
        mounted |= {source for source, *_ in mounts if not source.startswith((".", "/"))}
        if "build" in service:
            assert (DOCKER / service["build"]["context"]).resolve() == ROOT
            dockerfile = ROOT / service["build"]["dockerfile"]
            # A new volume belongs to root unless the image has its folder, and has given it away.
            made = next(words for words in words_of(dockerfile, "RUN") if "1000" in words)
            assert {mount[min(1, len(mount) - 1)] for mount in mounts} <= set(shlex.split(made))
    assert mounted == volumes


def test_no_two_services_share_a_state(compose: Compose) -> None:
    """It names processes by ids that mean nothing in another container."""
    kept = [
        mount
        for service in compose["services"].values()
        for mount in service.get("volumes", [])
        if ":" in mount and mount.endswith(("/state", "/home"))
    ]
    assert kept == ["flows-home:/opt/stemworks/home", "flows-state:/opt/stemworks/state"]
    for dockerfile in IMAGES:
        assert "STEMWORKS_STATE=/opt/stemworks/state " in words_of(dockerfile, "ENV")[0]


@pytest.mark.parametrize("name", OURS)
def test_commands_are_real(compose: Compose, name: str) -> None:
    verb, *words = [filled_in(word) for word in compose["services"][name]["command"]]
    commands: Any = typer.main.get_command(app)
    context = commands.commands[verb].make_context(verb, words)
    assert context.params.get("recipe", "demo") in RECIPES


def test_a_job_has_the_time_to_write_its_checkpoint(compose: Compose) -> None:
    from flows.jobs.launch import GRACE_SECONDS  # noqa: PLC0415

    for name in AT_WORK:
        period = compose["services"][name]["stop_grace_period"]
        assert int(period.removesuffix("s")) > GRACE_SECONDS


def test_telemetry_is_off(compose: Compose) -> None:
    for name in (*OURS, *SERVERS):
        assert compose["services"][name]["environment"]["DO_NOT_TRACK"] == "1"
    server = compose["services"]["server"]["environment"]
    assert server["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def test_gpus_are_asked_for_in_their_profile_only(compose: Compose) -> None:
    services = compose["services"]
    assert [name for name in services if "devices" in str(services[name])] == ["worker-gpu"]
    assert services["worker-gpu"]["profiles"] == services["deploy-gpu"]["profiles"] == ["gpu"]
    assert services["worker-gpu"]["command"][1] == services["deploy-gpu"]["command"][-1] == "gpu"
    assert "profiles" not in services["worker"]


def test_prefect_knows_its_settings(compose: Compose) -> None:
    """Prefect ignores a setting whose name is misspelled."""
    from prefect.settings import Settings  # noqa: PLC0415
    from prefect.settings.legacy import _get_settings_fields  # noqa: PLC0415
    from prefect_redis import client  # noqa: PLC0415

    known = set(_get_settings_fields(Settings))
    fields = client.RedisMessagingSettings.model_fields
    known |= {f"PREFECT_REDIS_MESSAGING_{name.upper()}" for name in fields}
    # Read from the environment by its encryption alone.
    known.add("PREFECT_SERVER_ENCRYPTION_KEY")
    given = [service.get("environment", {}) for service in compose["services"].values()]
    named = {name for names in given for name in names if name.startswith("PREFECT_")}
    for dockerfile in IMAGES:
        named |= set(re.findall(r"PREFECT_\w+(?==)", words_of(dockerfile, "ENV")[0]))
    assert named <= known


def test_without_torch_takes_torch_and_nothing_else() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    answer = subprocess.run(
        ["sh", DOCKER / "without-torch.sh", ROOT / "requirements.lock"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    whole, left = requirements(lock), requirements(answer.stdout)
    assert set(left.items()) <= set(whole.items())
    gone = set(whole) - set(left)
    assert {"torch", "torchaudio", "triton", "tensorboard"} <= gone
    family = r"torch(audio)?|triton|tensorboard(-data-server)?|(nvidia|cuda)-.*"
    assert {name for name in whole if re.fullmatch(family, name)} == gone


def requirements(lock: str) -> dict[str, str]:
    """Each requirement of a lock file with its hashes, by name."""
    entries = re.split(r"\n(?=\S)", lock.strip())
    return {Requirement(entry.split()[0]).name: entry for entry in entries}
