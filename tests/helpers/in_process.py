"""A grid for strategies of Flower's own kind: its nodes run a ClientApp in this process."""

from __future__ import annotations

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity


def identify(monkeypatch):
    """Lets this process make messages, as one that runs a ServerApp may."""
    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


class InProcess(Grid):
    """A grid whose nodes run a ClientApp in this process; an exception becomes an error reply.

    Args:
        client: the app of every node.
        nodes: their ids; a node's place among them is its partition.
    """

    def __init__(self, client, nodes):
        self.client, self.nodes = client, list(nodes)
        self.errors = []  # what the clients raised

    def send_and_receive(self, messages, *, timeout=None):
        replies = []
        for message in reversed(list(messages)):
            node = message.metadata.dst_node_id
            config = {"partition-id": self.nodes.index(node)}
            context = Context(1, node, node_config=config, state=RecordDict(), run_config={})
            try:
                replies.append(self.client(message, context))
            except Exception as error:
                self.errors.append(error)
                trace = f"Traceback (most recent call last):\n  ...\n{type(error).__name__}: {error}"
                replies.append(Message(Error(code=2, reason=trace), reply_to=message))
        return [reply for reply in replies if reply is not None]

    def get_node_ids(self):
        return set(self.nodes)

    def set_run(self, run):
        raise NotImplementedError

    run = create_message = push_messages = pull_messages = set_run
