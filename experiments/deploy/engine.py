"""The engine of a deployment: the clients are SuperNodes on machines of their own, each known by its key."""

from __future__ import annotations

import threading

from flwr.serverapp import Grid

from hauberk.experiments.deploy.folder import KEYS, Part
from hauberk.experiments.deploy.resident import agreement
from hauberk.experiments.engines.base import Engine
from hauberk.experiments.runner.setup import Prepared
from hauberk.server import app as server
from hauberk.server.client_keys import read_client_keys
from hauberk.server.round import Dispatch


class DeploymentEngine(Engine):
    """The nodes of a SuperLink that authenticates them.

    Args:
        grid: Flower's connection to them.
        part: the server's folder, which holds the table of their keys.
        stop: ends the run when set.
    """

    name = "deployment"

    def __init__(self, grid: Grid, part: Part, stop: threading.Event) -> None:
        super().__init__(stop)
        self._grid, self._part = grid, part
        self._dispatch: server.FlowerDispatch | None = None
        self._noted: dict[int, str] = {}

    def dispatch(self, prepared: Prepared) -> Dispatch:  # noqa: D102
        spec = prepared.spec
        self._dispatch = dispatch = server.FlowerDispatch(
            self._grid,
            prepared.server,
            self.stop,
            keys=read_client_keys(self._part.path / KEYS, spec.federation.n_clients) or {},
            node_wait_s=spec.engine.node_wait_s,
            timeout_s=spec.engine.round_timeout_s or spec.engine.client_timeout_s,
            agreed=agreement(spec, prepared.task, self._part),
            min_replies=spec.federation.min_replies or 0,
            rejoin=True,
        )
        dispatch.register_nodes()
        self.warnings = dispatch.registration.warnings
        return dispatch

    def take_refused_nodes(self) -> dict[int, str]:  # noqa: D102
        refused = self._dispatch.registration.refused if self._dispatch else {}
        news = {node: reason for node, reason in refused.items() if self._noted.get(node) != reason}
        self._noted |= news
        return news

    def take_late(self) -> dict[int, str]:  # noqa: D102
        return self._dispatch.take_late() if self._dispatch else {}
