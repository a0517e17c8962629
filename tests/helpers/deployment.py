"""A deployment on this machine: its folders, its processes, and its commands as a user types them."""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import socket
import subprocess
import sys
from pathlib import Path

from hauberk.experiments.cli import _main
from hauberk.experiments.deploy.folder import open_folder
from hauberk.experiments.deploy.members import Plan, init
from hauberk.experiments.spec.loader import parse

CLI = "from hauberk.experiments.cli import main; main()"
PORTS = random.Random(os.getpid())  # another process draws others


def free_ports(n: int) -> int:
    """Returns the first of ``n`` ports in a row that nobody has, nor is given by the system a moment later."""
    while True:
        first = PORTS.randrange(20_000, 30_000 - n)
        try:
            for port in range(first, first + n):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return first


def make(tables: dict, out: Path, *, host: str = "127.0.0.1", dealt: bool = True) -> Path:
    """Returns the folder of a new deployment, on ports that are free."""
    n_clients = tables["federation"]["n_clients"]
    port = free_ports(n_clients + 2)
    plan = Plan(spec=parse(tables), hosts=(host,), port=port, local_port=port + 1, dealt=dealt)
    return init(plan, out).path


def deploy(*arguments: str | Path, inside: tuple[str, ...] = (), timeout: float = 600) -> tuple[int, str]:
    """Runs ``hauberk deploy ...`` and returns its exit code and its output in one line; ``inside`` what."""
    command = [*inside, sys.executable, "-c", CLI, "deploy", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "300", "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)
    return done.returncode, re.sub(r"\s+", " ", done.stdout + done.stderr)


def here(*arguments: str | Path) -> tuple[int, str]:
    """Does the same in this process, which has imported already what each new one imports for seconds."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        code = _main(["deploy", *map(str, arguments)])
    return code, re.sub(r"\s+", " ", output.getvalue())


def logs(folder: Path) -> str:
    """Returns the ends of the logs of all processes, for a test that fails."""
    found = []
    for part in open_folder(folder).parts:
        for path in sorted(part.path.glob("logs/*.log")):
            found.append(f"== {path}\n{path.read_text(errors='replace')[-3000:]}")
    return "\n".join(found)
