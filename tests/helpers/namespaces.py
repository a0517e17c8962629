"""Machines that are network namespaces: each with a loopback, an address, a cable that can be cut, and a home."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


def why_not() -> str | None:
    """Returns why there can be no machines here, or None."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need the command ip"
    name = f"hbk{os.getpid()}probe"
    if _ip("netns", "add", name, check=False):
        return "this system lets nobody make network namespaces"
    _ip("netns", "delete", name)
    return None


@dataclass(frozen=True)
class Machine:
    """One machine: the first of a network has the switch.

    Attributes:
        name: of its namespace.
        address: its own.
        home: its user's.
    """

    name: str
    address: str
    home: Path

    @property
    def inside(self) -> tuple[str, ...]:
        """What a command begins with that runs on it."""
        return ("ip", "netns", "exec", self.name, "env", f"HOME={self.home}")


class Network:
    """Machines on one switch, taken away at the end.

    Args:
        n: how many machines.
        folder: where their homes are.
        subnet: the second and third number of their addresses.
    """

    def __init__(self, n: int, folder: Path, subnet: str = "77.1") -> None:
        prefix = f"hbk{os.getpid() % 100000}"
        self.machines = [
            Machine(f"{prefix}n{k}", f"10.{subnet}.{k + 1}", folder / f"machine-{k}") for k in range(n)
        ]
        self._prefix = prefix

    def __enter__(self) -> Network:
        first = self.machines[0].name
        for k, machine in enumerate(self.machines):
            machine.home.mkdir(parents=True, exist_ok=True)
            _ip("netns", "add", machine.name)
            _ip("-n", machine.name, "link", "set", "lo", "up")
            if k == 0:
                _ip("-n", first, "link", "add", "switch", "type", "bridge")
                _ip("-n", first, "addr", "add", f"{machine.address}/24", "dev", "switch")
                _ip("-n", first, "link", "set", "switch", "up")
                continue
            near, far = f"{self._prefix}a{k}", f"{self._prefix}b{k}"
            _ip("link", "add", near, "type", "veth", "peer", "name", far)
            _ip("link", "set", near, "netns", first, "name", f"port{k}")
            _ip("link", "set", far, "netns", machine.name, "name", "net0")
            _ip("-n", first, "link", "set", f"port{k}", "master", "switch", "up")
            _ip("-n", machine.name, "addr", "add", f"{machine.address}/24", "dev", "net0")
            _ip("-n", machine.name, "link", "set", "net0", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for machine in reversed(self.machines):
            _ip("netns", "delete", machine.name, check=False)

    def cut(self, k: int, *, cut: bool = True) -> None:
        """Cuts the cable of machine ``k``, or mends it."""
        _ip("-n", self.machines[0].name, "link", "set", f"port{k}", "down" if cut else "up")


def _ip(*arguments: str, check: bool = True) -> int:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if check and done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.returncode
