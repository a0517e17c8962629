"""The Flower ClientApp: messages in, messages out; what a client does with a round is `Worker`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

import torch
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from hauberk.clients import wire
from hauberk.clients.messages import ClientReply, Handshake, Instruction
from hauberk.clients.worker import Worker
from hauberk.strategies import layout_of
from hauberk.tasks.parameters import state_of

_WORKERS: dict[str, Worker] = {}  # one entry per process: what outlives a message is a cache, never state


@dataclass(frozen=True, eq=False)
class Participant:
    """Who answers messages.

    Attributes:
        client: which client this is.
        worker: what trains.
        agreed: digests of what it must have in common with the server beside version and layout.
    """

    client: int
    worker: Worker
    agreed: Mapping[str, str]

    def fit(self, instruction: Instruction) -> ClientReply:
        """Trains for a round; the reply is good until the next one."""
        return self.worker.fit(instruction, lent=True)


def client_app(make_worker: Callable[[Context], Worker], key_of: Callable[[Context], str]) -> ClientApp:
    """Returns the app of a simulation; ``make_worker`` is called once per process and key."""

    def participant(context: Context) -> Participant:
        worker = cached_worker(key_of(context), lambda: make_worker(context))
        return Participant(partition_id(context), worker, {})

    return participant_app(participant)


def participant_app(participant: Callable[[Context], Participant]) -> ClientApp:
    """Returns the app in which whoever ``participant`` says introduces itself and trains."""
    app = ClientApp()

    @app.query()
    def handshake(message: Message, context: Context) -> Message:
        try:
            one = participant(context)
            about = Handshake(one.client, version("hauberk"), layout_hash(one.worker.model), dict(one.agreed))
        except Exception as error:  # whatever goes wrong on a client is the server's to record
            return error_message(f"{type(error).__name__}: {error}", message)
        return Message(wire.pack_handshake(about), reply_to=message)

    @app.train()
    def fit(message: Message, context: Context) -> Message:
        try:
            one = participant(context)
            reply = wire.pack_reply(one.fit(wire.unpack_instruction(message.content, one.client)))
        except Exception as error:  # whatever goes wrong on a client is the server's to record
            return error_message(f"{type(error).__name__}: {error}", message)
        return Message(reply, reply_to=message)

    return app


def cached_worker(key: str, make: Callable[[], Worker]) -> Worker:
    """Returns this process's worker for ``key``, made at the first call."""
    if key not in _WORKERS:
        _WORKERS.clear()
        _WORKERS[key] = make()
    return _WORKERS[key]


def error_message(reason: str, message: Message) -> Message:
    """Returns the reply that says why there is none."""
    return Message(
        Error(code=ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason=" ".join(reason.split())), reply_to=message
    )


def partition_id(context: Context) -> int:
    """Returns the client id that this client's own machine configured."""
    return int(context.node_config["partition-id"])


def layout_hash(model: torch.nn.Module) -> str:
    """Returns a digest of the names, shapes and types of what travels."""
    return layout_of(state_of(model, copy=False)).digest()
