"""Five clients of a prepared run, each on a node of a Flower grid in this process."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import count

from flwr.app import ConfigRecord, Message, RecordDict

from hauberk.clients.app import client_app
from hauberk.experiments.runner.setup import Prepared
from hauberk.server.app import FlowerDispatch
from hauberk.server.round import run_round
from tests.helpers.local_grid import LocalGrid, Node, node_of

FIRST = 2**63  # node ids are 64 bits wide, which no signed integer holds
KEYS = count()


@dataclass
class Federation:
    """Five clients, each on a node of its own."""

    prepared: Prepared

    def __post_init__(self) -> None:
        self.worker = self.prepared.make_worker()
        key = str(next(KEYS))
        self.app = client_app(lambda _context: self.worker, key_of=lambda _context: key)
        self.grid = LocalGrid({FIRST + client: self.node(client) for client in range(5)})

    def node(self, partition: object) -> Node:
        return node_of(self.app, 1, partition)

    def dispatch(self, **settings) -> FlowerDispatch:
        settings = {"node_wait_s": 0.05, "timeout_s": 60, **settings}
        return FlowerDispatch(self.grid, self.prepared.server, threading.Event(), **settings)

    def round(self, dispatch):
        return run_round(self.prepared.server, self.prepared.start, dispatch)


def saying(answer: RecordDict | None) -> Node:
    """Returns a node that answers every message with the same content, or not at all."""
    return lambda message: None if answer is None else Message(answer, reply_to=message)


def introduction(**changes) -> RecordDict:
    about = {"client_id": 0, "version": "0.1.0", "layout": "", **changes}
    return RecordDict({"handshake": ConfigRecord(about)})
