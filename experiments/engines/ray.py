"""Flower's simulation on Ray: each client a task of a Flower ClientApp, the server a Flower ServerApp."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Queue
from typing import Any

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")  # no call may start another Ray behind our back
os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's own 15 starves a run beside any other busy process
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from flwr.app import Context
from flwr.server.superlink.fleet.vce import vce_api
from flwr.server.superlink.fleet.vce.backend import raybackend
from flwr.serverapp import Grid
from flwr.simulation import run_simulation

from hauberk.clients.app import client_app, kept, layout_hash
from hauberk.experiments.engines.base import Engine
from hauberk.experiments.engines.watched_backend import Pool, Watch, WatchedBackend
from hauberk.experiments.runner.setup import Prepared
from hauberk.experiments.spec.loader import Spec
from hauberk.server.app import FlowerDispatch, server_app
from hauberk.server.round import Dispatch


class RayEngine(Engine):
    """Flower's simulation on workers of our own; it runs in a thread beside the run's, which asks through its grid."""

    name = "ray"

    def __init__(self, spec: Spec, stop: threading.Event) -> None:
        super().__init__(stop)
        self._starter = ThreadPoolExecutor(1)
        # Starting takes seconds, beside the driver's reading of its data. This thread must live as long as Ray.
        self._starting = self._starter.submit(_start, spec, stop)
        self._grids: Queue[Grid | BaseException] = Queue()
        self._over = threading.Event()
        self._simulation: threading.Thread | None = None

    def dispatch(self, prepared: Prepared) -> Dispatch:  # noqa: D102
        pool = _ready(self._starting)
        self._simulation = threading.Thread(target=self._simulate, args=(prepared, pool), name="simulation")
        self._simulation.start()
        grid = self._grids.get()
        if isinstance(grid, BaseException):
            raise grid
        dispatch = FlowerDispatch(grid, prepared.spec.federation.n_clients, self.stop)
        return dispatch.register_nodes(layout_hash(prepared.server.model))

    def close(self) -> None:  # noqa: D102
        self._over.set()

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._simulation is not None:
            self._simulation.join()
        with contextlib.suppress(Exception):  # which `dispatch` has raised
            self._starting.result().join()
        self._starter.shutdown()

    def _simulate(self, prepared: Prepared, pool: Pool) -> None:
        spec_hash, arguments = prepared.spec.hash, ray.put(prepared.worker)
        app = client_app(lambda _context: _worker(arguments), key_of=lambda _context: spec_hash)
        pool.warm(lambda: kept(spec_hash, lambda: _worker(arguments)))

        def main(grid: Grid, _context: Context) -> None:
            self._grids.put(grid)
            self._over.wait()

        try:
            with _watched(pool):
                run_simulation(server_app(main), app, num_supernodes=prepared.spec.federation.n_clients)
        except BaseException as error:
            self._grids.put(error)


def _ready(starting: Future[Pool]) -> Pool:
    """Returns the started workers, and takes back the signals that Ray's core put handlers of its own on."""
    pool = starting.result()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.getsignal(number))
    return pool


def _start(spec: Spec, stop: threading.Event) -> Pool:
    """Starts Ray and its workers."""
    start_ray()
    return Pool(_watch(spec, stop))


def _watch(spec: Spec, stop: threading.Event) -> Watch:
    resources = ray.cluster_resources()
    cores = int(resources.get("CPU", 1)) if os.environ.get("RAY_ADDRESS") else default_workers()
    workers = min(
        spec.engine.workers or max(1, cores // spec.engine.threads_per_client), spec.federation.cohort_size
    )
    # Shares, so that a cluster spreads its workers and more workers than cores still start.
    cpus = min(float(spec.engine.threads_per_client), _share(resources.get("CPU", 1), workers))
    gpus = min(1.0, _share(resources.get("GPU", 0), workers)) if spec.device != "cpu" else 0.0
    return Watch(workers, spec.engine.client_timeout_s, cpus, gpus, stop)


def _share(total: float, workers: int) -> float:
    return int(1e4 * total / workers) / 1e4  # Ray counts in ten-thousandths


def default_workers() -> int:
    """Returns how many clients run at once where the spec does not say: one a core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_ray() -> None:
    """Connects to the cluster that RAY_ADDRESS names, or starts one here; quiet, without dashboard."""
    if not ray.is_initialized():
        local: dict[str, Any] = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
        # A dead worker is reported by its client's id; Ray's own paragraph on stdout would bury that.
        ray._private.worker.print_to_stdstream = lambda *_args, **_kwargs: None
        logging.getLogger("ray").setLevel(logging.ERROR)
        ray.init(logging_level=logging.ERROR, log_to_driver=False, configure_logging=False, **local)


def _worker(arguments: Any) -> Any:
    from hauberk.clients.worker import Worker

    return Worker(ray.get(arguments))


class ImpatientQueue(Queue):
    """A queue whose readers look up ten times a second; Flower's look up once, so that each run ends a second late."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Returns the next item as `Queue.get` does, after at most 0.1 s."""
        return super().get(block, min(timeout, 0.1) if timeout is not None else None)


@contextlib.contextmanager
def _watched(pool: Pool) -> Iterator[None]:
    """Puts our backend and queue where Flower looks for its own, and quietens its banner."""
    logger, level = logging.getLogger("flwr"), logging.getLogger("flwr").level
    originals = raybackend.RayBackend, vce_api.Queue
    raybackend.RayBackend = type("Backend", (WatchedBackend,), {"pool": pool})  # type: ignore[misc, assignment]
    vce_api.Queue = ImpatientQueue  # type: ignore[misc]
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        raybackend.RayBackend, vce_api.Queue = originals  # type: ignore[misc]
        logger.setLevel(level)
