"""The Flower side of the server: who is there, and how instructions reach clients and replies come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version

from flwr.app import Context, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid, ServerApp

from hauberk.clients import wire
from hauberk.clients.messages import ClientReply, Handshake, Instruction
from hauberk.clients.tensor_file import pack_arrays
from hauberk.server.mailbox import Answer, Mailbox, Question
from hauberk.server.registration import Registration, register
from hauberk.server.round import Dispatch, Stopped
from hauberk.server.server import Server
from hauberk.strategies.base import check
from hauberk.tasks.errors import UserError

__all__ = ["FlowerDispatch", "Mailbox", "Stopped", "clients_by_key", "server_app"]

JOIN_WAIT_S = 10.0  # how long a round waits for the introduction of nodes that are new


def server_app(main: Callable[[Grid, Context], None]) -> ServerApp:
    """Returns the app that runs ``main`` once."""
    app = ServerApp()
    app.main()(main)
    return app


class FlowerDispatch:
    """Sends instructions to the nodes of a grid and yields the replies as they arrive.

    A client's id comes from the node that a message was sent to: a self-reported id would let a liar take another's
    memory, or have it refused.

    Args:
        grid: Flower's connection to the nodes.
        server: whose clients the nodes are.
        stop: ends the run when set.
        keys: which client has which public key, in PEM; None where nodes say themselves who they are.
        node_wait_s: how long to wait until there are as many nodes as clients; None for ever.
        timeout_s: how long nodes may take to introduce themselves, and clients for a round; None for ever.
        advice: what to do where another number of nodes than clients is there, if that is a mistake of the user's;
            by default it is none, and those who are there go on if the rule can work with them.
        agreed: digests of what else a node must have in common with the server, by its name.
        min_replies: how many replies a round waits for beyond its time.
        rejoin: whether nodes may come, go and come back between rounds.
    """

    def __init__(
        self, grid: Grid, server: Server, stop: threading.Event, *, keys: Mapping[bytes, int] | None = None,
        node_wait_s: float | None = None, timeout_s: float | None = None, advice: str | None = None,
        agreed: Mapping[str, str] | None = None, min_replies: int = 0, rejoin: bool = False,
    ) -> None:  # fmt: skip
        self._grid, self._server, self._keys, self._agreed = grid, server, keys, agreed
        self._node_wait_s, self._timeout_s, self._advice = node_wait_s, timeout_s, advice
        self._min_replies, self._rejoin = min_replies, rejoin
        self._mailbox = Mailbox(grid, stop, apart=rejoin)
        self._answers: dict[int, Handshake | str] = {}
        self._since: dict[int, str] = {}  # when a node was activated that has introduced itself
        self.registration = Registration(nodes={}, refused={}, absent={})
        self.late: dict[int, str] = {}

    def register_nodes(self) -> Dispatch:
        """Waits for the nodes, asks each who it is, and returns itself; odd nodes are refused, and the others go on.

        Raises:
            UserError: so few are left that the rule cannot work.
        """
        self._wait_for_nodes()
        self._meet(self._timeout_s)
        self._check_enough()
        return self

    def __call__(self, instructions: Sequence[Instruction]) -> Iterable[ClientReply]:
        """Yields each client's reply as it arrives; an error reply carries its reason."""
        if self._rejoin:
            self._meet(JOIN_WAIT_S)
        starts = {id(one.parameters): one.parameters for one in instructions}
        packed = {start: pack_arrays(parameters) for start, parameters in starts.items()}
        clients: dict[int, int] = {}
        questions: dict[int, Question] = {}
        for instruction in instructions:
            client = instruction.client_id
            if reason := self._why_not_asked(client):
                yield ClientReply(client, None, error=reason)
            else:
                node = self.registration.nodes[client]
                content = wire.pack_instruction(instruction, packed[id(instruction.parameters)])
                clients[node], questions[node] = client, (content, "train")
        asked = self._mailbox.ask(
            questions,
            self._timeout_s,
            subject=f"round {instructions[0].round}",
            enough=min(self._min_replies, len(questions)),
        )
        for node, answer in asked:
            yield self._reply(clients[node], answer)
        self._drop_late()

    def take_late(self) -> dict[int, str]:
        """Returns which replies were dropped since the last call because they came too late, by client id."""
        late, self.late = self.late, {}
        return late

    def _why_not_asked(self, client: int) -> str | None:
        if client in self.registration.absent:
            return f"absent: {self.registration.absent[client]}"
        # Whoever is busy with an earlier round would only fall behind further. Twice its time, and it is given up.
        owed = self._mailbox.owed(self.registration.nodes[client], self._timeout_s or 0.0)
        return f"it still owes its reply to {owed}" if owed else None

    def _reply(self, client: int, answer: Answer) -> ClientReply:
        if isinstance(answer, str):
            return ClientReply(client, None, error=answer)
        try:
            return wire.unpack_reply(answer, client, self._server.layout, self._server.guard)
        except wire.Unreadable as odd:
            return ClientReply(client, None, error=f"unreadable reply: {odd}")

    def _wait_for_nodes(self) -> None:
        n_clients, wait_s = self._server.n_clients, self._node_wait_s
        end = time.monotonic() + (float("inf") if wait_s is None else wait_s)
        while (there := len(list(self._grid.get_node_ids()))) < n_clients and time.monotonic() < end:
            self._mailbox.pause()
        if there != n_clients and self._advice is not None:
            raise UserError(
                f"the spec has n_clients={n_clients}, but {there} nodes are there; {self._advice}"
            )

    def _meet(self, wait_s: float | None) -> None:
        """Asks the nodes that are new who they are, and says anew who is who."""
        nodes = {node.node_id: node for node in self._grid.get_nodes()}
        new = [one for one, node in sorted(nodes.items()) if self._since.get(one) != node.last_activated_at]
        for one in new:
            self._mailbox.forget(one)
        questions: dict[int, Question] = {one: (RecordDict(), "query") for one in new}
        for one, answer in self._mailbox.ask(questions, wait_s, subject="its introduction"):
            self._answers[one] = _introduction(answer)
        self._since |= {one: nodes[one].last_activated_at for one in new}
        self._drop_late()
        self.registration = register(
            {one: self._answers[one] for one in nodes},
            n_clients=self._server.n_clients,
            version=version("hauberk"),
            layout=self._server.layout.digest(),
            owners=None if self._keys is None else clients_by_key(nodes.values(), self._keys),
            agreed=self._agreed,
        )

    def _drop_late(self) -> None:
        """Takes late introductions for what they are, and notes whose late replies are dropped."""
        clients = {node: client for client, node in self.registration.nodes.items()}
        for one in self._mailbox.take_late():
            if one.kind == "query" and one.answer is not None:
                self._answers[one.node] = _introduction(one.answer)
            elif one.node in clients and not isinstance(one.answer, str):
                self.late[clients[one.node]] = f"its reply to {one.subject} came too late and was dropped"

    def _check_enough(self) -> None:
        there, server = len(self.registration.nodes), self._server
        try:
            if not there:
                raise ValueError("nobody can train.")
            check(server.aggregate, min(there, server.cohort_size))
        except ValueError as few:
            reasons = "; ".join(self.registration.warnings)
            raise UserError(f"{there} of {server.n_clients} clients are there: {few} {reasons}") from None


def clients_by_key(nodes: Iterable[NodeInfo], keys: Mapping[bytes, int]) -> dict[int, int]:
    """Returns which client each node is by its public key, by node id; nodes with another key are left out.

    flwr 1.41 hands a ServerApp each node's key (`Grid.get_nodes`), but not whether the node has shown that it is its
    own: the SuperLink asks for that where it runs with ``--enable-supernode-auth``. Without that flag a node registers
    itself with any key that no other node has, and a table of keys proves nothing.
    """
    return {node.node_id: keys[node.public_key] for node in nodes if node.public_key in keys}


def _introduction(answer: Answer) -> Handshake | str:
    if isinstance(answer, str):
        return answer
    try:
        return wire.unpack_handshake(answer)
    except wire.Unreadable as odd:
        return f"unreadable introduction: {odd}"
