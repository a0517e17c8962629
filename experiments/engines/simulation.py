"""Flower's own simulation as an engine: the messages of a deployment, on the Ray that Flower starts.

For whoever wants to see the Flower apps at work without a deployment. It has no watch over its workers: a client that
dies or hangs spoils the rounds after it, where the engine ``ray`` has its work done again.
"""

from __future__ import annotations

import logging
import os
import pickle
import threading
from math import ceil
from queue import Queue
from typing import Any

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

import cloudpickle
from flwr.app import Context
from flwr.serverapp import Grid
from flwr.simulation import run_simulation

from hauberk.clients.app import client_app
from hauberk.experiments.engines.base import Engine
from hauberk.experiments.engines.client_round import make_worker
from hauberk.experiments.engines.cluster import default_workers, quieten, reclaim_signals
from hauberk.experiments.engines.inline import InlineEngine
from hauberk.experiments.runner.setup import Prepared
from hauberk.experiments.spec.loader import Spec
from hauberk.server.app import FlowerDispatch, server_app
from hauberk.server.round import Dispatch

END_S = 30.0  # how long a simulation may take to end; one with a hanging client never does


class SimulationEngine(Engine):
    """Trains clients as nodes of a simulation, which runs in a thread and lends its grid to the run's."""

    name = "flower"

    def __init__(self, spec: Spec, stop: threading.Event) -> None:
        super().__init__(stop)
        self._workers = min(spec.engine.workers or default_workers(), spec.federation.cohort_size)
        self._grids: Queue[Grid | BaseException] = Queue()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def dispatch(self, prepared: Prepared) -> Dispatch:  # noqa: D102
        self._thread = threading.Thread(
            target=self._simulate, args=(prepared,), name="simulation", daemon=True
        )
        self._thread.start()
        grid = self._grids.get()
        if isinstance(grid, BaseException):
            raise grid
        federation = prepared.spec.federation
        turns = ceil(federation.cohort_size / self._workers)
        timeout_s = turns * prepared.spec.engine.client_timeout_s
        dispatch = FlowerDispatch(grid, prepared.server, self.stop, timeout_s=timeout_s)
        nodes = dispatch.register_nodes()
        reclaim_signals()
        return nodes

    def for_twin(self) -> Engine:
        """Returns the inline engine: one process has one simulation, and the run itself needs it."""
        return InlineEngine(self.stop)

    def close(self) -> None:  # noqa: D102
        self._over.set()

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._thread is not None:
            self._thread.join(END_S)

    def _simulate(self, prepared: Prepared) -> None:
        spec, threads = prepared.spec, prepared.spec.engine.threads_per_client

        def main(grid: Grid, _context: Context) -> None:
            self._grids.put(grid)
            self._over.wait()

        backend: dict[str, Any] = {
            "init_args": {
                "num_cpus": self._workers * threads,
                "include_dashboard": False,
                "log_to_driver": False,
            },
            "client_resources": {"num_cpus": threads, "num_gpus": 0.0},
        }
        key, packed = (
            spec.hash,
            cloudpickle.dumps((prepared.worker, spec.device)),
        )  # once, and not for each message
        app = client_app(lambda _context: make_worker(*pickle.loads(packed)), key_of=lambda _context: key)
        quieten()
        logging.getLogger("flwr").setLevel(logging.CRITICAL)
        try:
            run_simulation(server_app(main), app, spec.federation.n_clients, backend_config=backend)
        except BaseException as error:  # before the grid was there, or nobody reads it
            self._grids.put(error)
