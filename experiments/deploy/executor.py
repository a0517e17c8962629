"""Runs the tasks of a SuperLink or a SuperNode in forks of this process, which has imported and loaded all they need.

Flower's own executor starts a program for each task, which imports Python's packages, reads the data and builds the
model anew: seconds for every client in every round. A fork shares all of that, and still is a process of its own:
what a task breaks ends with it, and one that hangs can be killed.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue

import httpx
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from hauberk.experiments.deploy.certificates import CA_CERT
from hauberk.experiments.deploy.folder import SECRET, Part

log = logging.getLogger("hauberk.executor")
PROTECTED = frozenset({"/flwr.proto.Runtime/AcquireTask"})


@dataclass(eq=False)
class Executor:
    """Takes tasks from one machine's Runtime API on loopback, and runs each in a fork.

    Attributes:
        part: whose.
        kind: which tasks.
        play: what a fork does with a task's token; it ends the process.
        longest_s: how long a task may take before it is killed; None for ever.
        poll_s: how often it asks for a task.
    """

    part: Part
    kind: TaskType
    play: Callable[[str], None]
    longest_s: float | None = None
    poll_s: float = 0.25
    _running: dict[int, float] = field(default_factory=dict)  # when each child began

    def run(self) -> None:
        """Takes tasks until the process is stopped."""
        client = RuntimeHttpClient.from_server_address(
            server_address=f"127.0.0.1:{self.part.about.local_port}",
            insecure=self.part.about.kind == "client",
            root_certificates=certificates_of(self.part),
            interceptors=[
                RuntimeVersionHttpInterceptor(component_name="SuperExec"),
                SuperExecAuthHttpInterceptor(
                    master_secret=(self.part.path / SECRET).read_bytes(), protected_methods=PROTECTED
                ),
            ],
        )
        request = AcquireTaskRequest(supported_task_types=[self.kind])
        while True:
            self._reap()
            try:
                found = client.AcquireTask(request)
            except httpx.HTTPError as error:  # it starts, or starts again
                log.warning("the Runtime API does not answer: %s: %s", type(error).__name__, error)
                time.sleep(1)
                continue
            if found.HasField("task") and found.token:
                self._start(found.token)
            time.sleep(self.poll_s)

    def _start(self, token: str) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child:
            self._running[child] = time.monotonic()
            return
        code = 1
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            self.play(token)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException as error:
            log.error("the task failed: %s: %s", type(error).__name__, error)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        for child, since in list(self._running.items()):
            ended, status, used = os.wait4(child, os.WNOHANG)
            if ended:
                del self._running[child]
                code, seconds = os.waitstatus_to_exitcode(status), time.monotonic() - since
                text = "the task in process %d ended with %d after %.1f s, %.1f s of CPU"
                log.log(logging.WARNING if code else logging.INFO, text, child, code, seconds, cpu_of(used))
            elif self.longest_s is not None and time.monotonic() - since > self.longest_s:
                log.warning("the task in process %d took more than %g s: killed", child, self.longest_s)
                os.kill(child, signal.SIGKILL)


def cpu_of(used: resource.struct_rusage) -> float:
    """Returns the seconds of processor time in ``used``."""
    return used.ru_utime + used.ru_stime


def certificates_of(part: Part) -> bytes | None:
    """Returns what a machine's own Runtime API is trusted by: a SuperNode's has no TLS, on loopback behind a secret."""
    return (part.path / CA_CERT).read_bytes() if part.about.kind == "server" else None


def run_server_executor(part: Part) -> None:
    """Runs the ServerApps of a SuperLink."""
    from flwr.supercore.logger import mirror_output_to_queue
    from flwr.superlink.runtime import run_serverapp

    import hauberk.experiments.deploy.apps  # noqa: F401  (what every fork needs)

    def play(token: str) -> None:
        lines: Queue[str | None] = Queue()
        mirror_output_to_queue(lines)
        run_serverapp(
            runtime_api_address=f"127.0.0.1:{part.about.local_port}",
            log_queue=lines,
            token=token,
            insecure=False,
            certificates=certificates_of(part),
            parent_pid=os.getppid(),
            runtime_dependency_install=False,
        )

    Executor(part, TaskType.SERVER_APP, play, poll_s=1.0).run()


def run_client_executor(part: Part, ready: Path) -> None:
    """Runs the ClientApps of a SuperNode; ``ready`` is written when the client's data and model are loaded."""
    from flwr.supernode.runtime.run_clientapp import run_clientapp

    from hauberk.experiments.deploy.apps import resident
    from hauberk.tasks.device import resolve_device

    policy = part.policy()
    if resolve_device(part.spec().device) == "cpu":  # a GPU cannot be used in a fork of who has used it
        resident(str(part.path))

    def play(token: str) -> None:
        run_clientapp(
            runtime_api_address=f"127.0.0.1:{part.about.local_port}",
            token=token,
            insecure=True,
            certificates=None,
            parent_pid=os.getppid(),
            runtime_dependency_install=False,
        )

    ready.write_text("ready\n")
    Executor(part, TaskType.CLIENT_APP, play, policy.max_seconds).run()
