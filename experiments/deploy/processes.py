"""The processes of a deployment on this machine, each in a fork of one that has imported all."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hauberk.experiments.deploy import texts
from hauberk.experiments.deploy.certificates import CA_CERT, NODE_KEY, SERVER_CERT, SERVER_KEY
from hauberk.experiments.deploy.folder import FLOWER, SECRET, Part
from hauberk.tasks.errors import UserError

RUN, LOGS = "run", "logs"
MAX_LOG = 10 << 20  # bytes; a longer log is put aside when its process starts
TERM_S = 10.0  # between asking a process to end and killing it
ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",  # its threads do not outlive a fork
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
MODULES = (
    "flwr.superlink.main",
    "flwr.superlink.cli.flower_superlink",
    "flwr.supernode.cli.flower_supernode",
    "hauberk.experiments.deploy.apps",
    "hauberk.experiments.deploy.executor",
    "hauberk.experiments.deploy.proxy",
)
log = logging.getLogger("hauberk.deploy")


@dataclass(frozen=True, eq=False)
class Process:
    """One process of a part.

    Attributes:
        part: whose.
        name: what it is.
        main: what it does; does not return while all is well.
    """

    part: Part
    name: str
    main: Callable[[], None]

    @property
    def title(self) -> str:
        """What it is called on a screen."""
        return f"{self.part.name}: {self.name}"

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.part.path / LOGS / f"{self.name}.log"

    @property
    def pid_file(self) -> Path:
        """Holds its id, and is locked while it runs."""
        return self.part.path / RUN / f"{self.name}.pid"

    @property
    def ready_file(self) -> Path:
        """There when it is ready, where it takes long to be."""
        return self.part.path / RUN / f"{self.name}.ready"

    @property
    def failed_file(self) -> Path:
        """Holds the one line of a mistake of the user's that ended it."""
        return self.part.path / RUN / f"{self.name}.failed"

    def pid(self) -> int | None:
        """Returns its id while it runs; None where it does not."""
        try:
            with self.pid_file.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return int(file.read())
        except (FileNotFoundError, ValueError):
            pass
        return None

    def start(self) -> int:
        """Starts it in a fork, with a session, a log and a locked pid file of its own; returns its id."""
        for folder in (self.log.parent, self.pid_file.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        for old in (self.ready_file, self.failed_file):
            old.unlink(missing_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child:
            return self._await(child)
        code = 1
        try:
            code = self._live()
        finally:
            os._exit(code)

    def stop(self, *, kill: bool = False) -> bool:
        """Ends it and what it has started; returns whether it ran."""
        pid = self.pid()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL if kill else signal.SIGTERM)
        end = time.monotonic() + TERM_S
        while self.pid() is not None and time.monotonic() < end:
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):  # what was started by it may outlive it
            os.killpg(pid, signal.SIGKILL)
        return True

    def _await(self, child: int) -> int:
        """Returns once the child holds its lock, or has ended."""
        while self.pid() != child and not os.waitpid(child, os.WNOHANG)[0]:
            time.sleep(0.01)
        return child

    def _live(self) -> int:
        os.setsid()
        lock = os.open(self.pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        held = [lock]

        def let_go() -> None:  # the lock is this process's, and not the tasks' that it forks
            if held:
                os.close(held.pop())

        os.register_at_fork(after_in_child=let_go)
        if self.log.exists() and self.log.stat().st_size > MAX_LOG:
            self.log.replace(self.log.with_suffix(".old.log"))
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _log_what_matters()
        os.environ["FLWR_HOME"] = str(self.part.path / FLOWER)
        try:
            self.main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        except UserError as error:
            self.failed_file.write_text(" ".join(str(error).split()))
            log.error("%s", error)
            return 2
        except BaseException:
            log.exception("ended")
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
        return 0


def processes_of(part: Part, *, with_proxy: bool = True) -> list[Process]:
    """Returns the processes of a machine's part, in the order in which they start."""
    if part.about.kind == "server":
        made = [Process(part, "superlink", lambda: _superlink(part)), _proxy(part), _server_executor(part)]
        return made if with_proxy else [one for one in made if one.name != "proxy"]
    return [Process(part, "supernode", lambda: _supernode(part)), _client_executor(part)]


def import_all(parts: list[Part]) -> None:
    """Imports what the processes need, once for all of them."""
    os.environ.update(ENVIRONMENT)
    modules = [*MODULES, *(name for part in parts for name in part.spec().parts.task.slow_imports)]
    for module in modules:
        importlib.import_module(module)
    from hauberk.experiments.deploy.pace import quicken

    quicken()


def superlink_arguments(part: Part) -> list[str]:
    """Returns how ``flower-superlink`` is started: on loopback, with TLS, and with nodes that show their keys."""
    path = part.path
    return [
        "--host", "127.0.0.1", "--port", str(part.about.local_port),
        "--ssl-ca-certfile", str(path / CA_CERT), "--ssl-certfile", str(path / SERVER_CERT),
        "--ssl-keyfile", str(path / SERVER_KEY),
        "--enable-supernode-auth", "--database", str(path / FLOWER / "state.db"),
        "--isolation", "process", "--superexec-auth-secret-file", str(path / SECRET),
        "--disable-runtime-dependency-installation",
    ]  # fmt: skip


def supernode_arguments(part: Part) -> list[str]:
    """Returns how ``flower-supernode`` is started: with its key, and its own API on loopback behind a secret."""
    path = part.path
    return [
        "--superlink", part.about.address, "--root-certificates", str(path / CA_CERT),
        "--auth-supernode-private-key", str(path / NODE_KEY), "--node-config", f'folder="{path}"',
        "--isolation", "process", "--superexec-auth-secret-file", str(path / SECRET),
        "--host", "127.0.0.1", "--port", str(part.about.local_port),
    ]  # fmt: skip


def _superlink(part: Part) -> None:
    from flwr.superlink.cli.flower_superlink import flower_superlink

    texts.write_connection(part.path, part.about)
    sys.argv = ["flower-superlink", *superlink_arguments(part)]
    flower_superlink()


def _supernode(part: Part) -> None:
    from flwr.supernode.cli.flower_supernode import flower_supernode

    ready = part.path / RUN / "supernode.ready"
    logging.getLogger("flwr").addHandler(_Admitted(ready))
    sys.argv = ["flower-supernode", *supernode_arguments(part)]
    try:
        flower_supernode()
    except SystemExit:
        if ready.exists():
            raise
        raise UserError(
            f"{part.name}: the server at {part.about.address} does not let it in: its key is not in the server's "
            f"table; the log is {part.path / LOGS / 'supernode.log'}"
        ) from None


class _Admitted(logging.Handler):
    """Writes a file once the server has let a SuperNode in, which it says in its log alone."""

    def __init__(self, ready: Path) -> None:
        super().__init__()
        self._ready = ready

    def emit(self, record: logging.LogRecord) -> None:
        """Looks for the line that names the node's id."""
        if "SuperNode ID" in str(record.msg):
            self._ready.write_text("ready\n")


def _log_what_matters() -> None:
    """Logs what a process says of itself, and of its requests those that failed: there are several a second."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("flwr").propagate = False
    logging.getLogger("uvicorn.access").addFilter(lambda record: _status(record) >= 400)


def _status(record: logging.LogRecord) -> int:
    last = record.args[-1] if isinstance(record.args, tuple) and record.args else 0
    return last if isinstance(last, int) else 0


def _proxy(part: Part) -> Process:
    def main() -> None:
        from hauberk.experiments.deploy.proxy import run_proxy

        run_proxy(part)

    return Process(part, "proxy", main)


def _server_executor(part: Part) -> Process:
    def main() -> None:
        from hauberk.experiments.deploy.executor import run_server_executor

        run_server_executor(part)

    return Process(part, "executor", main)


def _client_executor(part: Part) -> Process:
    def main() -> None:
        from hauberk.experiments.deploy.executor import run_client_executor

        run_client_executor(part, part.path / RUN / "executor.ready")

    return Process(part, "executor", main)
