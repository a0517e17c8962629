"""Flower's Ray backend with a watch over every client.

Flower's own returns a dead actor to its pool, so that one crash fails client after client, and waits for ever on a
client that hangs. Here each client has its own timeout, counted from its own start; an actor that dies or hangs is
killed and another takes its place, and the server gets an error reply that says what happened.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.server.superlink.fleet.vce.backend.backend import Backend

from hauberk.clients.app import error_message

POLL_S = 0.2
START_S = 120.0  # how long a worker may take to start and import; not counted against its client


@dataclass(frozen=True)
class Watch:
    """What the backend is told by the engine; Flower hands it nothing but JSON."""

    workers: int
    timeout_s: float
    cpus: float
    gpus: float
    stop: threading.Event


class ClientActor:
    """One worker process."""

    def ready(self, warm_up: Callable[[], object] | None) -> int:
        """Imports and builds what every client needs, outside any client's time; returns the process id."""
        import torch

        import hauberk.clients.app  # noqa: F401

        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)  # its first use imports for a second
        if warm_up is not None:
            warm_up()
        return os.getpid()

    def run(
        self, make_app: Callable[[], ClientApp], message: Message, context: Context
    ) -> tuple[Message, Context]:
        """Returns the client's reply and its context."""
        return make_app()(message=message, context=context), context


class Pool:
    """Actors that are idle; creating them early lets them import while the driver still reads its data."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.idle: queue.Queue[Any] = queue.Queue()
        self._warm_up: Callable[[], object] | None = None
        self._closing: threading.Thread | None = None
        self._actor: Any = ray.remote(num_cpus=watch.cpus, num_gpus=watch.gpus, max_restarts=0)(ClientActor)
        for _ in range(watch.workers):
            self.add()

    def add(self) -> None:
        """Starts one more worker."""
        actor: Any = self._actor.remote()
        self.idle.put((actor, actor.ready.remote(self._warm_up)))

    def warm(self, warm_up: Callable[[], object]) -> None:
        """Lets every worker, also those to come, call ``warm_up`` before its first client."""
        self._warm_up = warm_up
        for _ in range(self.idle.qsize()):
            actor, _ready = self.idle.get()
            self.idle.put((actor, actor.ready.remote(warm_up)))

    def close(self) -> None:
        """Begins to end Ray; `join` waits for it."""
        self._closing = threading.Thread(target=ray.shutdown, name="ray-shutdown")
        self._closing.start()

    def join(self) -> None:
        """Returns when no process of Ray's is left."""
        if self._closing is None:
            self.close()
        assert self._closing is not None
        self._closing.join()

    def kill(self, actor: Any) -> None:
        """Ends one worker, whatever it is doing."""
        with contextlib.suppress(Exception):
            ray.kill(actor, no_restart=True)


class WatchedBackend(Backend):
    """Runs each message on an idle actor and never waits longer than its client's timeout."""

    pool: Pool  # set on the class by the engine, since Flower constructs the backend itself

    def __init__(self, _config: Any) -> None:
        self._app_fn: Callable[[], ClientApp] | None = None

    def build(self, app_fn: Callable[[], ClientApp]) -> None:
        """Takes the app; the workers are already starting."""
        self._app_fn = app_fn

    @property
    def num_workers(self) -> int:
        """How many clients run at once."""
        return self.pool.watch.workers

    def is_worker_idle(self) -> bool:
        """Whether a worker waits for a client."""
        return not self.pool.idle.empty()

    def process_message(self, message: Message, context: Context) -> tuple[Message, Context]:
        """Returns a client's reply, or an error reply that says why there is none."""
        watch = self.pool.watch
        actor, ready = self.pool.idle.get()
        try:
            wait(ready, START_S, watch.stop, "did not start")
            future = actor.run.remote(self._app_fn, message, context)
            reply = wait(future, watch.timeout_s, watch.stop, "timed out")
            self.pool.idle.put((actor, ready))
            return reply
        except Exception as error:
            self.pool.kill(actor)
            self.pool.add() if not watch.stop.is_set() else self.pool.idle.put((actor, ready))
            return error_message(reason_of(error), message), context

    def terminate(self) -> None:
        """Leaves nothing running; ending takes Ray a second, in which the driver can go on."""
        self.pool.close()


def wait(future: Any, timeout_s: float, stop: threading.Event, what: str) -> Any:
    """Returns the result of ``future``; raises TimeoutError when it takes too long or the run is asked to stop."""
    end = time.monotonic() + timeout_s
    while not stop.is_set():
        done, _ = ray.wait([future], timeout=min(POLL_S, max(0.0, end - time.monotonic())))
        if done:
            return ray.get(done[0])
        if time.monotonic() >= end:
            raise TimeoutError(f"{what} after {timeout_s:g} s")
    raise TimeoutError("the run was stopped")


def reason_of(error: Exception) -> str:
    """Returns one line that says what became of a client."""
    if isinstance(error, ray.exceptions.RayActorError):
        return "its worker process died"
    if isinstance(error, TimeoutError):
        return str(error)
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {cause}"
