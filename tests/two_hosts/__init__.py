"""Two hosts on one machine: each with its own network, name and scratch disk, and a bucket between.

A host is a network namespace joined to the other by a bridge, with a mount namespace in which the
folder of working copies is its own, and a name of its own. `python -m tests.two_hosts` packs on
both through Dask, trains on both through torchrun, and compares with one host.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BRIDGE = "stw-bridge"
GATEWAY = "10.213.77.254"
NAMES = "hosts"
"""The file in which each finds the other's address."""
WIRE = "wire"
"""What each host calls its way to the other."""


@dataclass(frozen=True)
class Host:
    """One of two hosts."""

    name: str
    address: str
    disk: Path
    """What it has at `scratch`."""
    scratch: Path
    """The same path on both."""

    def command(self, *words: str) -> list[str]:
        """Return what runs a command there."""
        settle = (
            f"hostname {self.name} && mount --bind {self.scratch.parent / NAMES} /etc/hosts && "
            f'mount --bind {self.disk} {self.scratch} && exec "$@"'
        )
        inside = ["unshare", "--mount", "--uts", "sh", "-c", settle, "sh", *words]
        return ["ip", "netns", "exec", self.name, *inside]

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "STEMWORKS_STATE": str(self.scratch / "state"),
            "STEMWORKS_SCRATCH": str(self.scratch / "homes"),
            "GLOO_SOCKET_IFNAME": WIRE,
            "STEMWORKS_LAUNCHER": f"{sys.executable} -m tests.two_hosts.launcher",
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *words: str) -> str:
        """Run a command there; return what it printed."""
        answer = subprocess.run(
            self.command(*words), cwd=ROOT, env=self.environment, capture_output=True, text=True,
            check=False, timeout=900,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def start(self, log: Path, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command there."""
        with log.open("wb") as stream:
            return subprocess.Popen(
                self.command(*words), cwd=ROOT, env=self.environment, stdout=stream, stderr=stream
            )


@contextmanager
def two_hosts(folder: Path) -> Iterator[tuple[Host, Host]]:
    """Make two hosts, and take them away; skip where the kernel does not let us."""
    if os.geteuid() or not shutil.which("ip") or _ip("link", "add", BRIDGE, "type", "bridge"):
        pytest.skip(
            "no network namespaces here, or another run has them; run as root with iproute2 "
            f"installed, and without a bridge {BRIDGE}"
        )
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    with ExitStack() as stack:
        stack.callback(_ip, "link", "del", BRIDGE)
        _must("addr", "add", f"{GATEWAY}/24", "dev", BRIDGE)
        _must("link", "set", BRIDGE, "up")
        hosts: list[Host] = []
        for number, name in enumerate(("stw-one", "stw-two"), 1):
            host = Host(name, f"10.213.77.{number}", folder / name, scratch)
            host.disk.mkdir()
            _must("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
            stack.callback(_ip, "link", "del", f"stw-wire{number}")
            _wire(host, f"stw-wire{number}")
            hosts.append(host)
        names = ["127.0.0.1 localhost", *(f"{host.address} {host.name}" for host in hosts)]
        (folder / NAMES).write_text("\n".join(names) + "\n")
        try:
            yield hosts[0], hosts[1]
        finally:
            for host in hosts:
                if (host.disk / "state").is_dir():
                    host.run(sys.executable, "-m", "flows", "down")


def _wire(host: Host, plug: str) -> None:
    _must("link", "add", plug, "type", "veth", "peer", "name", WIRE, "netns", host.name)
    _must("link", "set", plug, "master", BRIDGE, "up")
    _must("-n", host.name, "addr", "add", f"{host.address}/24", "dev", WIRE)
    _must("-n", host.name, "link", "set", WIRE, "up")
    _must("-n", host.name, "link", "set", "lo", "up")


def _ip(*words: str) -> int:
    return subprocess.run(["ip", *words], check=False, capture_output=True).returncode


def _must(*words: Sequence[str] | str) -> None:
    subprocess.run(["ip", *map(str, words)], check=True, capture_output=True)
