"""``flwr run .``: the experiment of pyproject's ``[tool.flwr.app.config]`` in Flower's own simulation."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid
from flwr.superlink.grid import InMemoryGrid
from rich.console import Console

from hauberk.clients import app as clients
from hauberk.clients.worker import Worker
from hauberk.experiments.engines.base import Engine
from hauberk.experiments.engines.inline import InlineEngine
from hauberk.experiments.report.tables import show_summary
from hauberk.experiments.runner.execute import run_on
from hauberk.experiments.runner.progress import Terminal
from hauberk.experiments.runner.setup import Prepared, prepare
from hauberk.experiments.spec.flat import flat_spec, unflatten
from hauberk.experiments.spec.loader import Spec, parse
from hauberk.server import app as server
from hauberk.server.round import Dispatch
from hauberk.tasks.errors import UserError


class FlowerEngine(Engine):
    """The nodes of a Flower simulation.

    Args:
        grid: Flower's connection to them.
        stop: ends the run when set.
    """

    name = "flower"

    def __init__(self, grid: Grid, stop: threading.Event) -> None:
        super().__init__(stop)
        self._grid = grid
        self._refused_nodes: dict[int, str] = {}

    def dispatch(self, prepared: Prepared) -> Dispatch:  # noqa: D102
        spec = prepared.spec
        dispatch = server.FlowerDispatch(
            self._grid,
            prepared.server,
            self.stop,
            node_wait_s=spec.engine.node_wait_s,
            timeout_s=None,  # clients take turns, so that a round has no limit that is a client's
            advice=advice(self._grid, spec.federation.n_clients),
        )
        dispatch.register_nodes()
        self.warnings = dispatch.registration.warnings
        self._refused_nodes = dispatch.registration.refused
        return dispatch

    def take_refused_nodes(self) -> dict[int, str]:  # noqa: D102
        refused, self._refused_nodes = self._refused_nodes, {}
        return refused

    def for_twin(self) -> Engine:
        """Returns the inline engine: the nodes of a simulation follow the spec's attack."""
        return InlineEngine(self.stop)


def main(grid: Grid, context: Context) -> None:
    """Runs the experiment on the nodes of ``grid``, or goes on with it where its folder holds a checkpoint."""
    spec = spec_of(context.run_config)
    check_simulated(grid)
    folder = folder_of(context.run_config, spec)
    with Terminal(Console()) as screen:
        result = run_on(partial(FlowerEngine, grid), spec, folder, screen, resume=True)
        show_summary(screen.console, result.summary, folder)


def check_simulated(grid: Grid) -> None:
    """Raises UserError where the nodes are real machines, which this app would give all clients' data."""
    if not isinstance(grid, InMemoryGrid):
        raise UserError(
            "flwr run: this app is for Flower's simulation; hauberk deploy runs on machines of their own"
        )


def spec_of(run_config: Mapping[str, Any]) -> Spec:
    """Returns the spec that a run configuration describes."""
    return parse(unflatten(flat_spec(run_config)))


def folder_of(run_config: Mapping[str, Any], spec: Spec) -> Path:
    """Returns the run's folder, absolute: the runtime's working directory is not the user's."""
    out = str(run_config.get("out") or "~/hauberk-runs")
    return Path(os.path.abspath(os.path.expanduser(out))) / f"{spec.name}-{spec.hash[:8]}"


def advice(grid: Grid, n_clients: int) -> str:
    """Returns the command that gives a simulation the right number of nodes."""
    federation = getattr(grid.run, "federation_id", None) or "<federation>"
    return f"type: flwr federation simulation-config {federation} --num-supernodes {n_clients}"


def make_worker(context: Context) -> Worker:
    """Returns this process's worker."""
    return prepare(spec_of(context.run_config)).make_worker()


server_app = server.server_app(main)
client_app = clients.client_app(make_worker, key_of=lambda context: spec_of(context.run_config).hash)
