"""The Flower side of the server: who is there, and how instructions reach clients and replies come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version

from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

from hauberk.clients.app import pack_arrays, pack_instruction, unpack_reply
from hauberk.clients.worker import ClientReply, Instruction
from hauberk.server.round import Dispatch, RoundFailed, Stopped
from hauberk.tasks.errors import UserError

POLL_S = 0.02


def server_app(main: Callable[[Grid, Context], None]) -> ServerApp:
    """Returns the app that runs ``main`` once."""
    app = ServerApp()
    app.main()(main)
    return app


class FlowerDispatch:
    """Sends instructions to the nodes of a grid and yields the replies as they arrive.

    A client's id comes from the node that a message was sent to, learnt once in `register_nodes`: a self-reported id
    would let a liar take another's memory, or have it refused.

    Args:
        grid: Flower's connection to the nodes.
        n_clients: how many nodes there must be.
        stop: ends the run when set.
        patience_s: how long to wait for the nodes; None for ever.
        hint: what to do when another number of nodes is there.
        timeout_s: how long a round waits for its replies; None for ever.
    """

    def __init__(
        self, grid: Grid, n_clients: int, stop: threading.Event, *,
        patience_s: float | None = None, hint: str = "", timeout_s: float | None = None,
    ) -> None:  # fmt: skip
        self._grid, self._patience_s, self._hint = grid, patience_s, hint
        self._n_clients = n_clients
        self._stop = stop
        self._timeout_s = timeout_s
        self._nodes: dict[int, int] = {}

    def register_nodes(self, layout_hash: str) -> Dispatch:
        """Waits for exactly ``n_clients`` nodes and asks each for its partition id, version and layout; returns itself.

        Raises:
            RoundFailed: a node does not answer, runs another version or another model, or two claim one partition.
        """
        for node, message in self._ask(
            {node: Message(RecordDict(), node, "query") for node in self._wait_for_nodes()}
        ):
            client = _introduced(message, layout_hash)
            if client in self._nodes:
                raise RoundFailed(f"two nodes say that they are client {client}")
            self._nodes[client] = node
        return self

    def __call__(self, instructions: Sequence[Instruction]) -> Iterable[ClientReply]:
        """Yields each client's reply as it arrives; an error reply carries its reason."""
        clients = {self._nodes[instruction.client_id]: instruction.client_id for instruction in instructions}
        arrays = pack_arrays(instructions[0].parameters)
        contents = [pack_instruction(instruction, arrays) for instruction in instructions]
        messages = {
            node: Message(content, node, "train") for node, content in zip(clients, contents, strict=True)
        }
        for node, message in self._ask(messages):
            if message.has_error():
                yield ClientReply(clients[node], None, 0, {}, {}, error=message.error.reason)
            else:
                yield _reply(message, clients[node])

    def _wait_for_nodes(self) -> list[int]:
        end = time.monotonic() + (self._patience_s or float("inf"))
        while len(nodes := list(self._grid.get_node_ids())) < self._n_clients and time.monotonic() < end:
            self._pause()
        if len(nodes) != self._n_clients:
            raise UserError(
                f"the spec has n_clients={self._n_clients}, but {len(nodes)} nodes are there{self._hint}"
            )
        return sorted(nodes)

    def _ask(self, messages: dict[int, Message]) -> Iterator[tuple[int, Message]]:
        ids = list(self._grid.push_messages(messages.values()))
        nodes = dict(zip(ids, messages, strict=True))
        del messages
        end = time.monotonic() + (self._timeout_s or float("inf"))
        while nodes and time.monotonic() < end:
            for message in self._grid.pull_messages(list(nodes)):
                yield nodes.pop(message.metadata.reply_to_message_id), message
            self._pause()

    def _pause(self) -> None:
        if self._stop.wait(POLL_S):
            raise Stopped


def _introduced(message: Message, layout_hash: str) -> int:
    """Returns the client id that a node says it has; raises RoundFailed where it cannot take part."""
    if message.has_error():
        raise RoundFailed(f"a client could not start: {message.error.reason}")
    about = {key: str(value) for key, value in message.content.config_records["handshake"].items()}
    client, ours = int(about["client"]), version("hauberk")
    if about["version"] != ours:
        raise RoundFailed(f"client {client} runs hauberk {about['version']}, the server {ours}")
    if about["layout"] != layout_hash:
        raise RoundFailed(f"client {client} has another model than the server: their layouts differ")
    return client


def _reply(message: Message, client_id: int) -> ClientReply:
    try:
        return unpack_reply(message.content, client_id)
    except Exception as error:  # a peer can send anything; the guard records it
        return ClientReply(
            client_id, None, 0, {}, {}, error=f"unreadable reply: {type(error).__name__}: {error}"
        )
