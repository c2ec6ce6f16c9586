"""What a worker of each kind of pool would start, built by the workers' own code."""

import asyncio
import shlex
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest

# A folder of ours is called docker, too, and mypy looks there.
from docker.models.containers import _create_container_args  # type: ignore[import-not-found]
from docker.types import DeviceRequest  # type: ignore[import-not-found]
from prefect.client.schemas.objects import FlowRun
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_HOME,
    temporary_settings,
)
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker
from prefect_docker.worker import DockerWorker, DockerWorkerJobConfiguration
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from flows.deploy.work_pools import Kind, Pool
from flows.jobs.launch import GRACE_SECONDS
from storage.errors import ConfigError

CONFIGURATIONS: dict[Kind, Any] = {
    "process": ProcessJobConfiguration,
    "docker": DockerWorkerJobConfiguration,
    "kubernetes": KubernetesWorkerJobConfiguration,
}
STATE = "/opt/stemworks/state"


def configured(kind: Kind, **variables: Any) -> Any:
    """What the worker makes of the pool's template and a deployment's variables, for one run."""
    template = Pool.of("pool", kind, variables).template
    given = {
        PREFECT_API_URL: "http://prefect.example:4200/api",
        PREFECT_API_AUTH_STRING: "works:a secret",
        PREFECT_HOME: "/home/of/the/worker",
    }
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="study demo", state=None)
    with temporary_settings(given):
        made = asyncio.run(
            # No block is named, so nobody is asked for one.
            CONFIGURATIONS[kind].from_template_and_values(
                template, variables, client=mock.MagicMock()
            )
        )
        made.prepare_for_flow_run(run)
    return made


def pod_of(**variables: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    pod = configured("kubernetes", **variables).job_manifest["spec"]["template"]["spec"]
    [container] = pod["containers"]
    return pod, container


def container_of(**variables: Any) -> dict[str, Any]:
    """What the Docker engine is asked to create."""
    worker = DockerWorker("pool", test_mode=True)
    engine = mock.Mock(**{"version.return_value": {"Version": "29.0.0"}})
    settings = worker._build_container_settings(engine, configured("docker", **variables))
    asked: dict[str, Any] = _create_container_args({**settings, "version": "1.44"})
    return asked


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_every_variable_is_documented_and_used(kind: Kind) -> None:
    template = Pool.of("pool", kind, {}).template
    used = str(template["job_configuration"])
    for name, variable in template["variables"]["properties"].items():
        assert variable["title"] and variable["description"].endswith("."), name
        # A worker lays the environment of a deployment over the template's own.
        assert f"{{{{ {name} }}}}" in used or name == "env", name


def test_a_pod_asks_for_its_gpus_and_finds_them() -> None:
    pod, container = pod_of(
        gpu_count=4,
        node_selector={"gpu": "h100"},
        tolerations=[{"key": "dedicated", "operator": "Exists"}],
    )
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 4
    assert pod["nodeSelector"] == {"gpu": "h100"}
    assert pod["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
    assert pod_of()[1]["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_a_pod_has_shared_memory_and_time_for_a_checkpoint() -> None:
    pod, container = pod_of(shm_size="32Gi")
    [memory] = [one for one in pod["volumes"] if one["name"] == "shared-memory"]
    assert memory["emptyDir"] == {"medium": "Memory", "sizeLimit": "32Gi"}
    assert {"name": "shared-memory", "mountPath": "/dev/shm"} in container["volumeMounts"]
    assert pod["terminationGracePeriodSeconds"] > GRACE_SECONDS
    with pytest.raises(ConfigError, match="unknown job variable 'gpus'; a kubernetes pool knows"):
        pod_of(gpus=4)


def test_a_pod_starts_the_flow_and_not_the_image_s_own_command() -> None:
    pod, container = pod_of()
    assert container["command"] == ["/usr/bin/tini", "--"]
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    # Each pod has its GPUs to itself, by Kubernetes: there is nothing to share.
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["STEMWORKS_HOST"] == ""
    assert environment["PREFECT_HOME"].startswith(STATE), "not the worker's, which is not there"


def test_a_manifest_holds_no_secret() -> None:
    made = configured("kubernetes", env={"STEMWORKS_S3_ENDPOINT": "http://s3.example"})
    manifest = str(made.job_manifest)
    assert "http://prefect.example:4200/api" in manifest
    assert "http://s3.example" in manifest
    assert "a secret" not in manifest
    [container] = made.job_manifest["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "stemworks", "optional": True}}]


def test_a_container_asks_for_gpus_and_shared_memory() -> None:
    asked = container_of(shm_size="2g")
    settings = asked["host_config"]
    assert settings["DeviceRequests"] == [
        DeviceRequest(driver="nvidia", count=-1, capabilities=[["gpu", "compute", "utility"]])
    ]
    assert settings["ShmSize"] == 2 * 1024**3
    assert settings["CapDrop"] == ["ALL"]
    assert asked["entrypoint"] == ["/usr/bin/tini", "--"]
    assert shlex.split(asked["command"]) == ["prefect", "flow-run", "execute"]
    assert asked["user"] == "1000:1000"
    # By the locks in this volume the jobs of several containers share a host's GPUs.
    assert f"stemworks-gpus:{STATE}/gpus" in settings["Binds"]
    assert not container_of(device_requests=[])["host_config"].get("DeviceRequests")


def test_a_container_s_environment() -> None:
    environment = configured("docker", host="gpu7", env={"MORE": "1"}).env
    assert environment["STEMWORKS_HOST"] == "gpu7"
    assert environment["STEMWORKS_STATE"] == STATE
    assert environment["PREFECT_HOME"].startswith(STATE), "not the worker's, which is not there"
    assert environment["MORE"] == "1"


def test_a_process_is_given_gpus_by_its_environment() -> None:
    made = configured("process", env={"CUDA_VISIBLE_DEVICES": "2,3"}, working_dir="/srv")
    assert made.env["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert str(made.working_dir) == "/srv"
    assert ProcessWorker.type == "process"


def test_no_such_kind() -> None:
    with pytest.raises(
        ConfigError, match="unknown kind of work pool 'ecs'; give one of process, docker"
    ):
        Pool.of("pool", "ecs", {})
