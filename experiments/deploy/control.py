"""Flower's Control API of a deployment's SuperLink, which answers on its own machine alone: nodes and runs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from flwr.cli.build import build_fab_from_files
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListRunsRequest,
    RegisterNodeRequest,
    StartRunRequest,
    StopRunRequest,
    UnregisterNodeRequest,
)
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.fab import Fab
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

from hauberk.experiments.deploy.certificates import CA_CERT
from hauberk.experiments.deploy.folder import KEYS, Part
from hauberk.server.client_keys import read_client_keys
from hauberk.tasks.errors import UserError

RUNNING, FINISHED = "running", "finished"
STARTING_S = 60.0
# Nothing of it runs: both names are of the installed package, and no dependency is listed for anybody to resolve.
BUNDLE = """\
[build-system]
requires = ["setuptools"]

[project]
name = "hauberk-deployment"
version = "0.1.0"
dependencies = []

[tool.flwr.app]
publisher = "hauberk"

[tool.flwr.app.components]
serverapp = "hauberk.experiments.deploy.apps:server_app"
clientapp = "hauberk.experiments.deploy.apps:client_app"

[tool.flwr.app.config]
folder = ""
spec = ""
out = ""
screen = ""
outcome = ""
"""


@dataclass(frozen=True)
class Node:
    """A SuperNode that a SuperLink knows."""

    id: int
    key: bytes
    status: str


class Control:
    """A connection to the SuperLink of the server that is on this machine.

    Args:
        part: the server's folder.
    """

    def __init__(self, part: Part) -> None:
        self._part = part
        self._client = ControlHttpClient.from_server_address(
            server_address=f"127.0.0.1:{part.about.local_port}",
            insecure=False,
            root_certificates=(part.path / CA_CERT).read_bytes(),
            interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr CLI")],
        )

    def close(self) -> None:
        """Closes it."""
        self._client.close()

    def nodes(self) -> list[Node]:
        """Returns the nodes that are registered."""
        found = self._client.ListNodes(ListNodesRequest()).nodes_info
        return [
            Node(one.node_id, one.public_key, one.status) for one in found if one.status != "unregistered"
        ]

    def admit(self) -> dict[int, Node]:
        """Makes the nodes that may come those of the table of keys; returns them by client id.

        Raises:
            UserError: a key in the table was removed before.
        """
        keys = read_client_keys(self._part.path / KEYS, 1 << 30) or {}
        there = {node.key: node for node in self.nodes()}
        for key, node in there.items():
            if key not in keys:
                self._client.UnregisterNode(UnregisterNodeRequest(node_id=node.id))
        for key, client in keys.items():
            if key not in there:
                self._register(key, client)
        return {keys[node.key]: node for node in self.nodes() if node.key in keys}

    def _register(self, key: bytes, client: int) -> None:
        try:
            self._client.RegisterNode(RegisterNodeRequest(public_key=key))
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.PRECONDITION_FAILED:
                raise
            raise UserError(
                f"{self._part.path / KEYS}: the key of client {client} was removed once, and no such key comes back; "
                "hauberk deploy add-client makes a client with a new one"
            ) from None

    def start(self, config: Mapping[str, Any]) -> int:
        """Submits a run with this configuration, and returns its id."""
        content, _ = build_fab_from_files({"pyproject.toml": BUNDLE.encode()})
        fab = Fab(hashlib.sha256(content).hexdigest(), content, {})
        request = StartRunRequest(
            fab=fab_to_proto(fab),
            override_config=user_config_to_proto(dict(config)),
            federation="",
            app_spec="",
        )
        found = self._client.StartRun(request)
        if not found.HasField("run_id"):
            raise UserError(
                f"{self._part.path}: the SuperLink takes no run: {found.note or 'no reason given'}"
            )
        return found.run_id

    def runs(self) -> dict[int, Any]:
        """Returns the runs that the SuperLink knows, by id, the newest last."""
        return dict(
            sorted(
                self._client.ListRuns(ListRunsRequest()).run_dict.items(), key=lambda one: one[1].pending_at
            )
        )

    def running(self) -> dict[int, dict[str, Any]]:
        """Returns the configuration of each run that is not finished, by id."""
        return {
            number: {key: value.string for key, value in run.override_config.items()}
            for number, run in self.runs().items()
            if run.status.status != FINISHED
        }

    def status(self, number: int) -> tuple[bool, str]:
        """Returns whether a run is finished, and how."""
        run = self._client.ListRuns(ListRunsRequest(run_id=number)).run_dict[number]
        words = (run.status.status, run.status.sub_status, run.status.details)
        return run.status.status == FINISHED, ": ".join(word for word in words if word)

    def is_starting(self, number: int) -> bool:
        """Returns whether a run was submitted so short a time ago that its process may not be there yet."""
        run = self._client.ListRuns(ListRunsRequest(run_id=number)).run_dict[number]
        age = datetime.now(UTC) - datetime.fromisoformat(run.pending_at)
        return run.status.status != RUNNING or age.total_seconds() < STARTING_S

    def stop(self, number: int) -> None:
        """Ends a run."""
        self._client.StopRun(StopRunRequest(run_id=number))


@contextmanager
def control_of(part: Part) -> Iterator[Control]:
    """Yields a connection.

    Raises:
        UserError: no SuperLink answers.
    """
    control = Control(part)
    try:
        yield control
    except httpx.ConnectError:
        raise UserError(
            f"{part.path}: no SuperLink answers on 127.0.0.1:{part.about.local_port}; hauberk deploy up starts it"
        ) from None
    finally:
        control.close()
