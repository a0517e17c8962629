"""``flwr run .``: the experiment of pyproject's ``[tool.flwr.app.config]`` on Flower's own runtime."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
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
from hauberk.server.client_keys import read_client_keys
from hauberk.server.round import Dispatch
from hauberk.tasks.errors import UserError

KEYS = (
    "client_keys.toml"  # in the folder of the runs: the clients' public keys, where nodes are authenticated
)


class FlowerEngine(Engine):
    """The nodes of a Flower grid.

    Args:
        grid: Flower's connection to them.
        keys: the file of the clients' public keys, see `hauberk.server.client_keys`; nodes of a simulation have none.
        stop: ends the run when set.
    """

    name = "flower"

    def __init__(self, grid: Grid, keys: Path, stop: threading.Event) -> None:
        super().__init__(stop)
        self._grid, self._keys = grid, keys
        self._refused_nodes: dict[int, str] = {}

    def dispatch(self, prepared: Prepared) -> Dispatch:  # noqa: D102
        spec, simulated = prepared.spec, isinstance(self._grid, InMemoryGrid)
        dispatch = server.FlowerDispatch(
            self._grid,
            prepared.server,
            self.stop,
            keys=None if simulated else read_client_keys(self._keys, spec.federation.n_clients),
            node_wait_s=spec.engine.node_wait_s,
            # In a simulation clients take turns, so that a round has no limit that is a client's.
            timeout_s=None if simulated else spec.engine.client_timeout_s,
            advice=advice(self._grid, spec.federation.n_clients) if simulated else None,
        )
        dispatch.register_nodes()
        self.warnings = dispatch.registration.warnings
        self._refused_nodes = dispatch.registration.refused
        return dispatch

    def take_refused_nodes(self) -> dict[int, str]:  # noqa: D102
        refused, self._refused_nodes = self._refused_nodes, {}
        return refused

    def for_twin(self) -> Engine:
        """Returns the inline engine: a node lies by its own configuration, whatever the server wants."""
        return InlineEngine(self.stop)


def main(grid: Grid, context: Context) -> None:
    """Runs the experiment on the nodes of ``grid``, or goes on with it where its folder holds a checkpoint."""
    spec = spec_of(context.run_config)
    check_forge(spec, grid)
    folder = folder_of(context.run_config, spec)
    with Terminal(Console()) as screen:
        engine = partial(FlowerEngine, grid, folder.parent / KEYS)
        result = run_on(engine, spec, folder, screen, resume=True)
        show_summary(screen.console, result.summary, folder)


def check_forge(spec: Spec, grid: Grid) -> None:
    """Raises UserError where a server of real machines would rewrite what honest ones sent."""
    forge = spec.attack.forge if spec.attack else None
    if forge is not None and not isinstance(grid, InMemoryGrid):
        raise UserError(
            f"attack.forge: '{forge['name']}' must be left to a simulation: no real client reads the others' updates"
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
    """Returns this process's worker. Outside a simulation, only a machine's own configuration makes a client lie."""
    prepared = prepare(spec_of(context.run_config))
    if not ray.is_initialized() and not may_lie(prepared, context.node_config):
        prepared = replace(prepared, worker=prepared.worker.honest)
    return prepared.make_worker()


def may_lie(prepared: Prepared, node_config: Mapping[str, Any]) -> bool:
    """Returns whether a machine is configured to follow the spec's attack.

    Raises:
        UserError: if it is, and is none of the attackers: it would be honest, and nobody would know.
    """
    attack, n_malicious = prepared.server.attack, prepared.server.n_malicious
    client = int(node_config["partition-id"])
    if not node_config.get("malicious"):
        return False
    if attack is not None and attack.schedule.ids == "fixed" and client >= n_malicious:
        raise UserError(
            "malicious: the partition-id of a malicious machine must be below federation.n_malicious, "
            f"got partition-id={client} and n_malicious={n_malicious}"
        )
    return True


server_app = server.server_app(main)
client_app = clients.client_app(make_worker, key_of=lambda context: spec_of(context.run_config).hash)
