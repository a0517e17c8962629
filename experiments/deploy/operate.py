"""``hauberk deploy up``, ``down`` and ``status``: the parts of a deployment that are on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.markup import escape

from hauberk.experiments.deploy.certificates import (
    CA_CERT,
    NODE_KEY,
    SERVER_CERT,
    SERVER_KEY,
    check_certificate,
)
from hauberk.experiments.deploy.control import control_of
from hauberk.experiments.deploy.folder import ABOUT, Folder, Part
from hauberk.experiments.deploy.processes import Process, import_all, processes_of
from hauberk.experiments.deploy.reach import check_server
from hauberk.tasks.errors import UserError

FAILED = 1  # the exit code where a part is not as it should be
START_S, POLL_S = 180.0, 0.1


@dataclass(frozen=True)
class Health:
    """How a process is: whether as it should be, and a line."""

    process: Process
    is_well: bool
    text: str


def up(console: Console, folder: Folder, *, with_proxy: bool = True, foreground: bool = False) -> int:
    """Starts the parts that are here, waits until they are well, and returns the exit code.

    Args:
        console: what is shown on.
        folder: whose parts.
        with_proxy: whether to start the proxy; without it another publishes the server.
        foreground: whether to stay and watch them: the first that ends ends all.

    Raises:
        UserError: they cannot work: a port is in use, a certificate has expired, a client's data are not there.
    """
    for part in folder.parts:
        check_part(part, with_proxy=with_proxy)
    processes = [one for part in folder.parts for one in processes_of(part, with_proxy=with_proxy)]
    if running := [one.title for one in processes if one.pid() is not None]:
        raise UserError(f"{folder.path}: runs already: {', '.join(running)}; hauberk deploy down ends it")
    if not foreground:
        _check_reach(folder)
    import_all(list(folder.parts))
    try:
        found = _start(folder, processes)
    except BaseException:
        _stop(processes)
        raise
    if not all(health.is_well for health in found):
        _stop(processes)
        show(console, found)
        _raise_mistake(processes)
        return FAILED
    show(console, found)
    return _watch(console, processes) if foreground else 0


def down(console: Console, folder: Folder) -> int:
    """Ends the parts that are here, the clients first; returns the exit code."""
    processes = [one for part in reversed(folder.parts) for one in reversed(processes_of(part))]
    stopped = [process.title for process in processes if process.stop()]
    console.print(
        f"stopped: {', '.join(stopped)}" if stopped else "nothing ran", highlight=False, soft_wrap=True
    )
    return 0


def status(console: Console, folder: Folder) -> int:
    """Shows the parts that are here, and which clients a server sees; returns the exit code."""
    found = [health_of(one) for part in folder.parts for one in processes_of(part)]
    show(console, found)
    for part in folder.parts:
        if part.about.kind == "server" and found[0].is_well:
            with control_of(part) as control:
                for client, node in sorted(control.admit().items()):
                    console.print(
                        f"client {client}: node {node.id} {node.status}", highlight=False, soft_wrap=True
                    )
                for number, config in control.running().items():
                    console.print(f"run {number}: {config.get('out', '?')}", highlight=False, soft_wrap=True)
    return 0 if all(health.is_well for health in found) else FAILED


def admit(folder: Folder) -> None:
    """Tells the SuperLink, where it runs here, whose keys are in the table."""
    part = folder.server
    if processes_of(part)[0].pid() is not None:
        with control_of(part) as control:
            control.admit()


def check_part(part: Part, *, with_proxy: bool = True) -> None:
    """Raises UserError where a part cannot work: a file is missing, a certificate is bad, a port is taken."""
    part.spec()
    ports = [("127.0.0.1", part.about.local_port)]
    if part.about.kind == "server":
        part.server_file()
        check_certificate(part.path / SERVER_CERT, part.path / CA_CERT, host=part.about.host)
        check_secret(part.path / SERVER_KEY)
        ports += [("", part.about.port)] if with_proxy else []
    else:
        part.client_file()
        part.policy()
        check_secret(part.path / NODE_KEY)
    if any(process.pid() is not None for process in processes_of(part)):
        return  # the ports are its own
    for host, port in ports:
        _check_free(part, host, port)


def check_secret(path: Path) -> None:
    """Raises UserError where a private key is missing, or others than its owner can read it."""
    if not path.exists():
        raise UserError(f"{path}: no such file")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise UserError(f"{path}: must be readable by its owner alone (mode 600), got {mode:o}")


def health_of(process: Process) -> Health:
    """Returns how a process is now."""
    pid = process.pid()
    if pid is None:
        return Health(process, False, f"does not run; its log is {process.log}")
    about = process.part.about
    if process.name == "superlink":
        trust = ssl.create_default_context(cafile=str(process.part.path / CA_CERT))
        return _answer(process, pid, f"https://127.0.0.1:{about.local_port}/health", trust)
    if process.name == "supernode":
        if not process.ready_file.exists():
            return Health(process, False, f"process {pid} is not let in by {about.address} yet")
        return _answer(process, pid, f"http://127.0.0.1:{about.local_port}/health")
    if process.name == "proxy" and not _listens("127.0.0.1", about.port):
        return Health(process, False, f"process {pid} does not listen on port {about.port}")
    if process.part.about.kind == "client" and not process.ready_file.exists():
        return Health(process, False, f"process {pid} still loads the client's data")
    where = f", on port {about.port}" if process.name == "proxy" else ""
    return Health(process, True, f"process {pid}{where}")


def show(console: Console, found: Sequence[Health]) -> None:
    """Shows a line for each process."""
    for health in found:
        mark = "[green]up[/]  " if health.is_well else "[red]down[/]"
        line = f"{mark} {escape(health.process.title)}: {escape(health.text)}"
        console.print(line, highlight=False, soft_wrap=True)


def _start(folder: Folder, processes: Sequence[Process]) -> list[Health]:
    """Starts them, the server before the clients, and returns how they are once they are well, or will not be."""
    found: list[Health] = []
    for part in folder.parts:
        mine = [process for process in processes if process.part is part]
        for process in mine:
            process.start()
        if part.about.kind == "server":
            found += _wait(mine)
            if all(health.is_well for health in found):
                with control_of(part) as control:
                    control.admit()
    return found + _wait([process for process in processes if process.part.about.kind == "client"])


def _wait(processes: Sequence[Process]) -> list[Health]:
    end = time.monotonic() + START_S
    time.sleep(POLL_S)
    while True:
        _reap()
        found = [health_of(process) for process in processes]
        is_over = any(process.pid() is None for process in processes) or time.monotonic() > end
        if all(health.is_well for health in found) or is_over:
            return found
        time.sleep(POLL_S)


def _watch(console: Console, processes: Sequence[Process]) -> int:
    """Stays until a process ends or this one is told to; then ends all."""
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _: told.append(got))
    try:
        while not told:
            _reap()
            if ended := [process for process in processes if process.pid() is None]:
                show(console, [health_of(process) for process in ended])
                _raise_mistake(ended)
                return FAILED
            time.sleep(0.5)
    finally:
        _stop(processes)
    return 0


def _stop(processes: Sequence[Process]) -> None:
    for process in reversed(processes):
        process.stop()
    _reap()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _raise_mistake(processes: Sequence[Process]) -> None:
    """Raises UserError where a mistake of the user's ended a process."""
    lines = [process.failed_file.read_text() for process in processes if process.failed_file.exists()]
    if lines:
        raise UserError("; ".join(lines))


def _check_reach(folder: Folder) -> None:
    """Raises UserError where the server of the clients that are here is elsewhere, and cannot be reached or trusted."""
    if not any(part.about.kind == "server" for part in folder.parts):
        for part in folder.parts:
            check_server(part.about.host, part.about.port, part.path / CA_CERT)


def _check_free(part: Part, host: str, port: int) -> None:
    try:
        family = socket.AF_INET6 if not host and socket.has_dualstack_ipv6() else socket.AF_INET
        socket.create_server((host, port), family=family, dualstack_ipv6=family == socket.AF_INET6).close()
    except OSError as error:
        raise UserError(
            f"{part.path}: port {port} is taken ({error.strerror or error}); free it, or change it in {ABOUT}"
        ) from None


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _answer(process: Process, pid: int, url: str, trust: ssl.SSLContext | bool = True) -> Health:
    try:
        code = httpx.get(url, verify=trust, timeout=2, trust_env=False).status_code
    except httpx.HTTPError as error:
        return Health(process, False, f"process {pid} does not answer yet: {type(error).__name__}")
    return Health(process, code == 200, f"process {pid} answers {code} on {url}")
