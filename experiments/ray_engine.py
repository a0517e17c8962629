"""Flower's simulation on Ray: each client a task of a Flower ClientApp, the server a Flower ServerApp."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
import torch
from flwr.app import Context
from flwr.server.superlink.fleet.vce.backend import raybackend
from flwr.serverapp import Grid
from flwr.simulation import run_simulation

from hauberk.clients.app import client_app, layout_hash
from hauberk.server.app import FlowerDispatch, server_app
from hauberk.server.loop import Observer, play
from hauberk.server.state import ServerState

from .backend import Pool, Watch, WatchedBackend
from .prepare import Prepared
from .spec import Spec

Engine = Callable[[Prepared, ServerState, Observer], ServerState]


@contextlib.contextmanager
def ray_session(spec: Spec, stop: threading.Event) -> Iterator[Engine]:
    """Starts Ray and the workers, yields the engine, and leaves no process behind."""
    start_ray()
    try:
        pool = Pool(_watch(spec, stop))
        yield lambda prepared, state, observer: run_ray(prepared, state, observer, pool)
    finally:
        ray.shutdown()


def _watch(spec: Spec, stop: threading.Event) -> Watch:
    workers = min(spec.engine.workers or default_workers(), spec.federation.cohort_size)
    gpus = min(1.0, torch.cuda.device_count() / workers) if spec.device != "cpu" else 0.0
    return Watch(workers, spec.engine.client_timeout_s, gpus, stop)


def default_workers() -> int:
    """Returns how many clients run at once where the spec does not say: one a core."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def start_ray() -> None:
    """Connects to the cluster that RAY_ADDRESS names, or starts one here; quiet, without dashboard."""
    if not ray.is_initialized():
        local = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
        ray.init(logging_level=logging.ERROR, log_to_driver=False, configure_logging=False, **local)


def run_ray(prepared: Prepared, state: ServerState, observer: Observer, pool: Pool) -> ServerState:
    """Plays the rounds that are left as a Flower simulation on the workers of ``pool``."""
    spec, spec_hash, outcome = prepared.spec, prepared.spec.hash, _Outcome()
    arguments = ray.put(prepared.worker)
    app = client_app(lambda _context: _worker(arguments), key_of=lambda _context: spec_hash)

    def main(grid: Grid, _context: Context) -> None:
        try:
            dispatch = FlowerDispatch(grid, spec.federation.n_clients, pool.watch.stop)
            dispatch.greet(layout_hash(prepared.server.model))
            outcome.state = play(
                prepared.server, state, dispatch, spec.federation.rounds, spec.server.threads, observer
            )
        except BaseException as error:  # carried out of Flower's thread, which would print it as a traceback
            outcome.error = error

    with _watched(pool):
        run_simulation(server_app(main), app, num_supernodes=spec.federation.n_clients)
    return outcome.result()


class _Outcome:
    """What the server's thread came to."""

    state: ServerState | None = None
    error: BaseException | None = None

    def result(self) -> ServerState:
        if self.error is not None:
            raise self.error
        if self.state is None:
            raise RuntimeError("the simulation ended before its server did")
        return self.state


def _worker(arguments: Any) -> Any:
    from hauberk.clients.client import Worker

    return Worker(**ray.get(arguments))


@contextlib.contextmanager
def _watched(pool: Pool) -> Iterator[None]:
    """Puts our backend where Flower looks for its own, and quietens Flower's banner."""
    logger, ours = logging.getLogger("flwr"), type("Backend", (WatchedBackend,), {"pool": pool})
    original, level = raybackend.RayBackend, logger.level
    raybackend.RayBackend = ours  # type: ignore[misc, assignment]
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        raybackend.RayBackend = original  # type: ignore[misc]
        logger.setLevel(level)
