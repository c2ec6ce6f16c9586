"""The files for Slurm and Kubernetes say what is so, as far as one machine can tell."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own
from torch.distributed.run import get_args_parser

from storage.home.runs import Run
from tests.training.conftest import MIXIT, index, make_run, songs  # noqa: F401  fixtures

ROOT = Path(__file__).parent.parent
DOCKER = ROOT / "docker"


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    """Kind of object -> the object."""
    parts = yaml.safe_load_all((DOCKER / "torchrun-job.yaml").read_text())
    return {part["kind"]: part for part in parts}


def test_the_pods_are_as_many_as_torchrun_waits_for(cluster: dict[str, Any]) -> None:
    job, service = cluster["Job"], cluster["Service"]
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    words = get_args_parser().parse_args(container["args"])
    assert container["command"][-3:] == ["python", "-m", "training.torchrun"]
    assert int(words.nnodes) == spec["completions"] == spec["parallelism"]
    assert spec["completionMode"] == "Indexed", "else pods have no names to meet under"
    assert int(words.nproc_per_node) == container["resources"]["limits"]["nvidia.com/gpu"]
    host, _, port = words.rdzv_endpoint.partition(":")
    assert host == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["ports"][0]["port"] == int(port)
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    assert (words.module, words.training_script) == (True, "training")
    assert words.training_script_args[0] == "train"


def test_the_pods_are_nobody_special_and_have_what_they_need(cluster: dict[str, Any]) -> None:
    from flows.jobs.launch import GRACE_SECONDS  # noqa: PLC0415

    pod = cluster["Job"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert pod["terminationGracePeriodSeconds"] > GRACE_SECONDS
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert any(container["args"][-1].startswith(f"{mount}/runs/train-") for mount in mounts)
    assert "/dev/shm" in mounts
    assert [set(source) for source in container["envFrom"]] == [{"secretRef"}]
    assert not [one for one in container["env"] if re.search("KEY|SECRET|TOKEN", one["name"])]
    assert not container["image"].endswith(":latest")


@pytest.mark.slow
def test_the_slurm_script_trains(
    make_run: Callable[..., Run],  # noqa: F811
    tmp_path: Path,
) -> None:
    """With stand-ins for the two commands of Slurm's that it calls."""
    run = make_run("run", "train", MIXIT)
    stand_in(tmp_path / "srun", 'test "$1" = --kill-on-bad-exit=1 && shift && exec "$@"')
    stand_in(tmp_path / "scontrol", 'test "$*" = "show hostnames here" && echo 127.0.0.1')
    given = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "STEMWORKS_PYTHON": sys.executable,
        "SLURM_JOB_NODELIST": "here", "SLURM_NNODES": "1", "SLURM_GPUS_ON_NODE": "2",
        "SLURM_JOB_ID": "17", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    script = ["bash", str(DOCKER / "slurm.sbatch")]
    done = subprocess.run(
        [*script, str(run.root)],
        check=False, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **given},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (run.model / "model.safetensors").is_file()
    assert "step 6/6 loss " in done.stderr
    refused = subprocess.run(script, check=False, capture_output=True, text=True, env=given)
    assert refused.returncode != 0
    assert "give the run directory" in refused.stderr


def stand_in(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
