"""The Flower side of the server: who is there, and how instructions reach clients and replies come back."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version

import httpx
from flwr.app import Context, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid, ServerApp

from hauberk.clients import wire
from hauberk.clients.messages import ClientReply, Handshake, Instruction
from hauberk.server.registration import Registration, register
from hauberk.server.round import Dispatch
from hauberk.server.server import Server
from hauberk.strategies.base import check
from hauberk.strategies.flower.records import error_of
from hauberk.strategies.printable import brief
from hauberk.tasks.errors import UserError

POLL_S = 0.02
LOST = frozenset({ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE})

Question = tuple[RecordDict, str]  # a message's content and type
Answer = RecordDict | str  # a message's content, or in one line why there is none


class Stopped(Exception):
    """The run was asked to stop; the unfinished round is dropped."""


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
        server: whose clients the nodes are.
        stop: ends the run when set.
        keys: which client has which public key, in PEM; None where nodes say themselves who they are.
        node_wait_s: how long to wait until there are as many nodes as clients; None for ever.
        timeout_s: how long nodes may take to introduce themselves, and clients for a round; None for ever.
        advice: what to do where another number of nodes than clients is there, if that is a mistake of the user's;
            by default it is none, and those who are there go on if the rule can work with them.
    """

    def __init__(
        self, grid: Grid, server: Server, stop: threading.Event, *, keys: Mapping[bytes, int] | None = None,
        node_wait_s: float | None = None, timeout_s: float | None = None, advice: str | None = None,
    ) -> None:  # fmt: skip
        self._grid, self._server, self._keys = grid, server, keys
        self._node_wait_s, self._timeout_s, self._advice = node_wait_s, timeout_s, advice
        self._mailbox = Mailbox(grid, stop)
        self.registration = Registration(nodes={}, refused={}, absent={})

    def register_nodes(self) -> Dispatch:
        """Waits for the nodes, asks each who it is, and returns itself; odd nodes are refused, and the others go on.

        Raises:
            UserError: so few are left that the rule cannot work.
        """
        questions = {node: (RecordDict(), "query") for node in self._wait_for_nodes()}
        answers = {
            node: _introduction(answer) for node, answer in self._mailbox.ask(questions, self._timeout_s)
        }
        self.registration = register(
            answers,
            n_clients=self._server.n_clients,
            version=version("hauberk"),
            layout=self._server.layout.digest(),
            owners=None if self._keys is None else clients_by_key(self._grid, self._keys),
        )
        self._check_enough()
        return self

    def __call__(self, instructions: Sequence[Instruction]) -> Iterable[ClientReply]:
        """Yields each client's reply as it arrives; an error reply carries its reason."""
        arrays = wire.pack_arrays(instructions[0].parameters)
        clients: dict[int, int] = {}
        questions: dict[int, Question] = {}
        for instruction in instructions:
            if (client := instruction.client_id) in self.registration.absent:
                yield ClientReply(client, None, error=f"absent: {self.registration.absent[client]}")
            else:
                node = self.registration.nodes[client]
                clients[node], questions[node] = client, (wire.pack_instruction(instruction, arrays), "train")
        for node, answer in self._mailbox.ask(questions, self._timeout_s):
            yield self._reply(clients[node], answer)

    def _reply(self, client: int, answer: Answer) -> ClientReply:
        if isinstance(answer, str):
            return ClientReply(client, None, error=answer)
        try:
            return wire.unpack_reply(answer, client, self._server.layout, self._server.guard)
        except wire.Unreadable as odd:
            return ClientReply(client, None, error=f"unreadable reply: {odd}")

    def _wait_for_nodes(self) -> list[int]:
        n_clients, end = self._server.n_clients, _end(self._node_wait_s)
        while len(nodes := list(self._grid.get_node_ids())) < n_clients and time.monotonic() < end:
            self._mailbox.pause()
        if len(nodes) != n_clients and self._advice is not None:
            raise UserError(
                f"the spec has n_clients={n_clients}, but {len(nodes)} nodes are there; {self._advice}"
            )
        return sorted(nodes)

    def _check_enough(self) -> None:
        there, server = len(self.registration.nodes), self._server
        try:
            if not there:
                raise ValueError("nobody can train.")
            check(server.aggregate, min(there, server.cohort_size))
        except ValueError as few:
            reasons = "; ".join(self.registration.warnings)
            raise UserError(f"{there} of {server.n_clients} clients are there: {few} {reasons}") from None


class Mailbox:
    """Asks nodes over a grid and yields their answers as they arrive; nothing that a node sends raises.

    Flower unpacks the messages of a batch together, and one that it cannot unpack takes the others with it. From the
    first such batch on messages are fetched one by one, and a node whose answer was lost is asked once more.
    """

    def __init__(self, grid: Grid, stop: threading.Event) -> None:
        self._grid, self._stop = grid, stop
        self._one_by_one = False

    def ask(self, questions: Mapping[int, Question], timeout_s: float | None) -> Iterator[tuple[int, Answer]]:
        """Yields each node once, with its answer, or why there is none after ``timeout_s`` at the latest.

        Raises:
            Stopped: the run is to end.
        """
        waiting = yield from self._send(questions)
        once_more, end = set(waiting.values()), _end(timeout_s)
        while waiting and time.monotonic() < end:
            for message_id, answer in self._fetch(list(waiting)):
                node = waiting.pop(message_id, None)
                if node is None:  # an answer that says itself which message it answers can say anything
                    continue
                if isinstance(answer, Message) and _is_lost(answer) and node in once_more:
                    once_more.discard(node)
                    waiting |= yield from self._send({node: questions[node]})
                else:
                    yield node, _content(answer)
            self.pause()
        for node in waiting.values():
            yield node, f"no answer within {timeout_s:g} s"

    def pause(self) -> None:
        """Waits for a moment; raises Stopped where the run is to end."""
        if self._stop.wait(POLL_S):
            raise Stopped

    def _send(self, questions: Mapping[int, Question]) -> Generator[tuple[int, Answer], None, dict[str, int]]:
        """Sends; returns which node got which message, by its id, and yields the nodes that got none."""
        # Flower makes a message's id from its content, and takes an answer from any node that names the id: so it holds
        # something that nobody else can guess.
        messages = {
            node: Message(content, node, kind, group_id=secrets.token_hex(16))
            for node, (content, kind) in questions.items()
        }
        taken = set(self._grid.push_messages(list(messages.values()))) if messages else set()
        sent = {message.metadata.message_id: node for node, message in messages.items()}
        for message_id in [one for one in sent if one not in taken]:
            yield sent.pop(message_id), "the node cannot be reached"
        return sent

    def _fetch(self, ids: list[str]) -> Iterator[tuple[str, Message | str]]:
        """Yields what has arrived, each with the id of the message that it answers."""
        for batch in [[one] for one in ids] if self._one_by_one else [ids]:
            try:
                messages = list(self._grid.pull_messages(batch))
            except (OSError, httpx.HTTPError):  # the connection to the SuperLink is gone: no node's fault
                raise
            except Exception as error:
                self._one_by_one = True
                if len(batch) == 1:
                    yield batch[0], f"unreadable message: {brief(f'{type(error).__name__}: {error}')}"
            else:
                yield from ((message.metadata.reply_to_message_id, message) for message in messages)


def clients_by_key(grid: Grid, keys: Mapping[bytes, int]) -> dict[int, int]:
    """Returns which client each node is by its public key, by node id; nodes with another key are left out.

    flwr 1.41 hands a ServerApp each node's key (`Grid.get_nodes`), but not whether the node has shown that it is its
    own: the SuperLink asks for that where it runs with ``--enable-supernode-auth``. Without that flag a node registers
    itself with any key that no other node has, and a table of keys proves nothing.
    """
    return {node.node_id: keys[node.public_key] for node in grid.get_nodes() if node.public_key in keys}


def _end(wait_s: float | None) -> float:
    return time.monotonic() + (float("inf") if wait_s is None else wait_s)


def _is_lost(message: Message) -> bool:
    return message.has_error() and message.error.code in LOST


def _content(answer: Message | str) -> Answer:
    if isinstance(answer, str):
        return answer
    return error_of(answer) or (answer.content if answer.has_content() else "the message is empty")


def _introduction(answer: Answer) -> Handshake | str:
    if isinstance(answer, str):
        return answer
    try:
        return wire.unpack_handshake(answer)
    except wire.Unreadable as odd:
        return f"unreadable introduction: {odd}"
