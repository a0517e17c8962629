"""The Flower ClientApp: messages in, messages out; what a client does with a round is `Worker`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import torch
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from hauberk.clients import wire
from hauberk.clients.messages import Handshake
from hauberk.clients.worker import Worker
from hauberk.strategies import layout_of
from hauberk.tasks.parameters import state_of

_WORKERS: dict[str, Worker] = {}  # one entry per process: what outlives a message is a cache, never state


def client_app(make_worker: Callable[[Context], Worker], key_of: Callable[[Context], str]) -> ClientApp:
    """Returns the app; ``make_worker`` is called once per process and key."""
    app = ClientApp()

    def worker(context: Context) -> Worker:
        return cached_worker(key_of(context), lambda: make_worker(context))

    @app.query()
    def handshake(message: Message, context: Context) -> Message:
        try:
            layout = layout_hash(worker(context).model)
            about = Handshake(partition_id(context), version("hauberk"), layout)
        except Exception as error:  # whatever goes wrong on a client is the server's to record
            return error_message(f"{type(error).__name__}: {error}", message)
        return Message(wire.pack_handshake(about), reply_to=message)

    @app.train()
    def fit(message: Message, context: Context) -> Message:
        try:
            instruction = wire.unpack_instruction(message.content, partition_id(context))
            reply = wire.pack_reply(worker(context).fit(instruction))
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
