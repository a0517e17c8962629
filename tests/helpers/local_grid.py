"""A Flower grid whose nodes answer in this process: what flwr's own grids do, without a network and without waiting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace

from flwr.app import Context, Message, RecordDict
from flwr.app.error import Error
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid

Node = Callable[[Message], Message | None]


class LocalGrid(Grid):
    """Takes messages to nodes and brings their answers.

    Args:
        nodes: what each node answers, by its id; None is silence.
        keys: the nodes' public keys, where they have some.
    """

    def __init__(self, nodes: Mapping[int, Node], keys: Mapping[int, bytes] | None = None) -> None:
        self.nodes, self.keys = dict(nodes), keys or {}
        self.garbled: set[int] = set()  # nodes whose answers cannot be unpacked
        self.gone: set[int] = set()  # nodes that no message reaches any more
        self.activated: dict[int, str] = {}  # when a node began, where it began anew
        self.asked: list[tuple[int, str]] = []  # which node was asked, and for what
        self._answers: dict[str, Message] = {}
        self._known: set[str] = set()

    def set_run(self, run: object) -> None:
        raise NotImplementedError

    create_message = send_and_receive = set_run

    @property
    def run(self) -> SimpleNamespace:
        return SimpleNamespace(federation_id="@local/default")

    def get_node_ids(self) -> list[int]:
        return list(self.nodes)

    def get_nodes(self) -> list[NodeInfo]:
        return [
            NodeInfo(
                node_id=node,
                public_key=self.keys.get(node, b""),
                last_activated_at=self.activated.get(node, ""),
            )
            for node in self.nodes
        ]

    def push_messages(self, messages: list[Message]) -> list[str]:
        ids = []
        for message in messages:
            node, metadata = message.metadata.dst_node_id, message.metadata
            metadata.__dict__["_message_id"] = f"{len(self.asked)} {metadata.group_id}"
            self.asked.append((node, metadata.message_type))
            if node in self.gone:
                ids.append("")
                continue
            ids.append(metadata.message_id)
            self._known.add(metadata.message_id)
            if (answer := self.nodes[node](message)) is not None:
                self._answers[metadata.message_id] = answer
        return ids

    def answer(self, message_id: str, answer: Message) -> None:
        """Hands in the answer to a message that was taken before."""
        self._answers[message_id] = answer

    def pull_messages(self, message_ids: list[str]) -> list[Message]:
        """As flwr's HttpGrid: what it hands out it forgets, and one garbled answer takes its batch with it."""
        found, garbled = [], False
        for message_id in message_ids:
            if message_id not in self._known:
                found.append(unavailable(message_id))
            elif message_id in self._answers:
                self._known.remove(message_id)
                found.append(self._answers.pop(message_id))
                garbled |= found[-1].metadata.src_node_id in self.garbled
        if garbled:
            raise KeyError("no such object")
        return found


def unavailable(message_id: str) -> Message:
    """Returns the error by which a SuperLink says that it knows nothing of a message."""
    metadata = Message(RecordDict(), 1, "query").metadata
    metadata.__dict__["_reply_to_message_id"] = message_id
    error = Error(code=ErrorCode.MESSAGE_UNAVAILABLE, reason="Message Unavailable")
    return Message(metadata=metadata, error=error)


def node_of(
    app: ClientApp, node_id: int, partition: object, run_config: Mapping[str, object] | None = None
) -> Node:
    """Returns a node that runs ``app`` as the client ``partition``."""
    context = Context(1, node_id, {"partition-id": partition}, RecordDict(), dict(run_config or {}))
    return lambda message: app(message, context)
