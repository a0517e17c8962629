"""The Flower ClientApp: messages in, messages out; what a client does with a round is `Worker`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    ConfigRecordValues,
    Context,
    Error,
    Message,
    MetricRecord,
    RecordDict,
)
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from hauberk.clients.training_codec import describe, training_of
from hauberk.clients.worker import ClientReply, Instruction, Worker
from hauberk.strategies import layout_of
from hauberk.tasks.parameters import state_of
from hauberk.tasks.tensor_tree import put_tensors, take_tensors

_WORKERS: dict[str, Worker] = {}  # one entry per process: what outlives a message is a cache, never state


def client_app(make_worker: Callable[[Context], Worker], key_of: Callable[[Context], str]) -> ClientApp:
    """Returns the app; ``make_worker`` is called once per process and key."""
    app = ClientApp()

    def worker(context: Context) -> Worker:
        return kept(key_of(context), lambda: make_worker(context))

    @app.query()
    def handshake(message: Message, context: Context) -> Message:
        about: dict[str, ConfigRecordValues] = {
            "client": partition_id(context),
            "version": version("hauberk"),
            "layout": layout_hash(worker(context).model),
        }
        return Message(RecordDict({"handshake": ConfigRecord(about)}), reply_to=message)

    @app.train()
    def fit(message: Message, context: Context) -> Message:
        try:
            reply = worker(context).fit(unpack_instruction(message.content, partition_id(context)))
        except Exception as error:  # whatever goes wrong on a client is the server's to record
            return error_message(f"{type(error).__name__}: {error}", message)
        return Message(pack_reply(reply), reply_to=message)

    return app


def kept(key: str, make: Callable[[], Worker]) -> Worker:
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


def pack_instruction(instruction: Instruction, arrays: ArrayRecord) -> RecordDict:
    """Returns an instruction as Flower carries it; ``arrays`` are its parameters, packed once for all clients."""
    training = json.dumps(describe(instruction.training))
    about: dict[str, ConfigRecordValues] = {
        "round": instruction.round,
        "sampled": list(instruction.sampled),
        "training": training,
    }
    return RecordDict({"arrays": arrays, "about": ConfigRecord(about), **pack_state(instruction.state)})


def unpack_instruction(content: RecordDict, client_id: int) -> Instruction:
    """Returns the instruction that a message carries."""
    about = content.config_records["about"]
    return Instruction(
        client_id=client_id,
        round=int(str(about["round"])),
        parameters=unpack_arrays(content.array_records["arrays"]),
        state=unpack_state(content),
        training=training_of(json.loads(str(about["training"]))),
        sampled=tuple(int(client) for client in about["sampled"]),  # type: ignore[union-attr]
    )


def pack_reply(reply: ClientReply) -> RecordDict:
    """Returns a client's reply as Flower carries it."""
    report = MetricRecord({**reply.report, "num-examples": float(reply.n_examples)})
    return RecordDict(
        {"arrays": pack_arrays(reply.arrays or {}), "report": report, **pack_state(reply.state)}
    )


def unpack_reply(content: RecordDict, client_id: int) -> ClientReply:
    """Returns the reply that a message carries; the client id is the server's knowledge, never the message's."""
    report: dict[str, Any] = dict(content.metric_records["report"])
    n_examples = report.pop("num-examples")
    arrays = unpack_arrays(content.array_records["arrays"])
    return ClientReply(client_id, arrays, n_examples, unpack_state(content), report)


def pack_arrays(arrays: Mapping[str, Any]) -> ArrayRecord:
    """Returns named arrays as a record."""
    return ArrayRecord({name: Array(np.ascontiguousarray(value)) for name, value in arrays.items()})


def unpack_arrays(record: ArrayRecord) -> dict[str, np.ndarray]:
    """Returns a record as named arrays."""
    return {name: array.numpy() for name, array in record.items()}


def pack_state(state: Mapping[str, Any]) -> dict[str, ArrayRecord | ConfigRecord]:
    """Returns a client's own state as an array record and a JSON text."""
    tensors: dict[str, torch.Tensor] = {}
    skeleton = take_tensors(dict(state), tensors)
    return {
        "state_arrays": pack_arrays({name: tensor.numpy() for name, tensor in tensors.items()}),
        "state": ConfigRecord({"tree": json.dumps(skeleton)}),
    }


def unpack_state(content: RecordDict) -> dict[str, Any]:
    """Returns the state that `pack_state` packed."""
    arrays = unpack_arrays(content.array_records["state_arrays"])
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    return put_tensors(json.loads(str(content.config_records["state"]["tree"])), tensors)
