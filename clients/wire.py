"""The one codec between server and client: what Flower's messages carry, packed and read back.

Nothing is pickled, and nothing that arrives is trusted: the types and sizes of what a message holds are looked at
before any of it is unpacked, what is unpacked is never larger than what arrived, and what is odd is an `Unreadable`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, TypeVar

import torch
from flwr.app import ArrayRecord, ConfigRecord, ConfigRecordValues, MetricRecord, RecordDict

from hauberk.clients.messages import ClientReply, Handshake, Instruction
from hauberk.clients.optimizers import OPTIMIZERS
from hauberk.clients.plugins import PLUGINS
from hauberk.clients.settings import Training
from hauberk.clients.tensor_file import MAX_HEADER, pack_arrays, size_of, unpack_arrays
from hauberk.strategies.guard import Guard
from hauberk.strategies.layout import Layout
from hauberk.strategies.printable import brief, quoted
from hauberk.tasks.tensor_tree import put_tensors, take_tensors

MAX_TREE = 8 << 20  # characters of a state's JSON: more than any state that the guard lets pass needs
MAX_TRAINING = 1 << 16  # characters of the training settings' JSON
AGREED = "agreed."  # before the name of each thing that a handshake says is agreed on
MAX_AGREED = 16
T = TypeVar("T")


class Unreadable(ValueError):
    """A message is not one that this package sends; the text is one printable line that says why."""


def pack_handshake(handshake: Handshake) -> RecordDict:
    """Returns a node's answer to the server's first message."""
    about = asdict(handshake)
    agreed = {f"{AGREED}{name}": digest for name, digest in about.pop("agreed").items()}
    return RecordDict({"handshake": ConfigRecord(about | agreed)})


def unpack_handshake(content: RecordDict) -> Handshake:
    """Returns what a node says of itself; raises Unreadable."""
    with _unreadable_if_odd():
        about = _records(content.config_records, "handshake")["handshake"]
        agreed = [key for key in about if key.startswith(AGREED)]
        if len(agreed) > MAX_AGREED:
            raise Unreadable(f"it names {len(agreed)} things agreed on, allowed are {MAX_AGREED}")
        return Handshake(
            _value(about, "client_id", int),
            brief(_value(about, "version", str)),
            brief(_value(about, "layout", str)),
            {brief(key.removeprefix(AGREED)): brief(_value(about, key, str)) for key in agreed},
        )


def pack_instruction(instruction: Instruction, arrays: ArrayRecord) -> RecordDict:
    """Returns an instruction; ``arrays`` are its parameters, packed once for all clients."""
    tree, tensors = _pack_state(instruction.state)
    about: dict[str, ConfigRecordValues] = {
        "round": instruction.round,
        "sampled": list(instruction.sampled),
        "training": json.dumps(describe_training(instruction.training)),
        "state": tree,
    }
    return RecordDict({"arrays": arrays, "state": tensors, "about": ConfigRecord(about)})


def unpack_instruction(content: RecordDict, client_id: int) -> Instruction:
    """Returns the instruction that a message carries, for the client that has got it; raises Unreadable."""
    with _unreadable_if_odd():
        arrays = _records(content.array_records, "arrays", "state")
        about = _records(content.config_records, "about")["about"]
        training = json.loads(_value(about, "training", str, MAX_TRAINING))
        return Instruction(
            client_id=client_id,
            round=_value(about, "round", int),
            parameters=unpack_arrays(arrays["arrays"]),
            state=_unpack_state(_value(about, "state", str, MAX_TREE), arrays["state"]),
            training=training_of(training),
            sampled=tuple(map(int, _value(about, "sampled", list))),
        )


def pack_reply(reply: ClientReply) -> RecordDict:
    """Returns a client's reply."""
    tree, tensors = _pack_state(reply.state)
    about: dict[str, ConfigRecordValues] = {"n_examples": reply.n_examples, "state": tree}
    return RecordDict(
        {
            "arrays": pack_arrays(reply.arrays or {}),
            "rows": pack_arrays(reply.rows),
            "state": tensors,
            "report": MetricRecord(dict(reply.report)),
            "about": ConfigRecord(about),
        }
    )


def unpack_reply(content: RecordDict, client_id: int, layout: Layout, guard: Guard) -> ClientReply:
    """Returns the reply that a message carries; what is in it is the guard's to judge.

    Args:
        content: what has arrived.
        client_id: who sent it: the server's knowledge, never the message's.
        layout: the tensors that are due.
        guard: how large a reply may be.

    Raises:
        Unreadable: it is not one that `pack_reply` packs, or too large to be looked into.
    """
    with _unreadable_if_odd():
        arrays = _records(content.array_records, "arrays", "rows", "state")
        about = _records(content.config_records, "about")["about"]
        report = _records(content.metric_records, "report")["report"]
        _refuse(_too_large(arrays, layout, guard))
        _refuse(guard.report(report))
        state = _unpack_state(_value(about, "state", str, MAX_TREE), arrays["state"])
        return ClientReply(
            client_id,
            unpack_arrays(arrays["arrays"]),
            about["n_examples"],  # type: ignore[arg-type]
            state,
            dict(report),  # type: ignore[arg-type]
            rows=unpack_arrays(arrays["rows"]),
        )


def describe_training(training: Training) -> dict[str, Any]:
    """Returns how to train as JSON can hold it: names of this package's own tables, never an import path."""
    return {
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "precision": training.precision,
        "optimizer": _named(training.optimizer, OPTIMIZERS),
        "plugins": [_named(plugin, PLUGINS) for plugin in training.plugins],
    }


def training_of(described: Mapping[str, Any]) -> Training:
    """Returns the training that `describe_training` described; raises Unreadable for what this client does not know."""
    with _unreadable_if_odd():
        plugins = tuple(_built(plugin, PLUGINS) for plugin in described["plugins"])
        return Training(
            **{**described, "optimizer": _built(described["optimizer"], OPTIMIZERS), "plugins": plugins}
        )


@contextmanager
def _unreadable_if_odd() -> Iterator[None]:
    """Turns whatever its block raises into an `Unreadable`: a peer can make a parser raise anything."""
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(brief(f"{type(error).__name__}: {error}")) from None


def _refuse(reason: str | None) -> None:
    if reason is not None:
        raise Unreadable(reason)


def _records(records: Mapping[str, T], *names: str) -> Mapping[str, T]:
    """Returns the records of one kind; raises Unreadable unless they are exactly those of ``names``."""
    if set(records) != set(names):
        raise Unreadable(f"the message has {len(records)} records where {', '.join(names)} are due")
    return records


def _value(record: Mapping[str, Any], key: str, kind: type[T], longest: int = MAX_TREE) -> T:
    """Returns a value of the type that is due and of at most ``longest`` items; raises Unreadable."""
    value = record.get(key)
    if type(value) is not kind:
        raise Unreadable(f"{key} is a {type(value).__name__}, not {kind.__name__}")
    if isinstance(value, str | list) and len(value) > longest:
        raise Unreadable(f"{key} has length {len(value)}, allowed is {longest}")
    return value


def _too_large(records: Mapping[str, ArrayRecord], layout: Layout, guard: Guard) -> str | None:
    """Returns why a reply is not even looked into, by its bytes, or None."""
    n_bytes, most = size_of(records["state"]), guard.max_state_bytes(layout) + MAX_HEADER
    if n_bytes > most:
        return f"the state has {n_bytes} bytes, allowed are {most}"
    return guard.oversized(size_of(records["arrays"]) + size_of(records["rows"]), layout)


def _pack_state(state: Mapping[str, Any]) -> tuple[str, ArrayRecord]:
    """Returns a client's state as JSON, and the tensors that it names."""
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(take_tensors(dict(state), tensors))
    return tree, pack_arrays({name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()})


def _unpack_state(tree: str, record: ArrayRecord) -> dict[str, Any]:
    tensors = {name: torch.from_numpy(array) for name, array in unpack_arrays(record).items()}
    state = put_tensors(json.loads(tree), tensors)
    if tensors:
        raise Unreadable(f"the state does not say where tensor {quoted(next(iter(tensors)))} belongs")
    return state


def _named(instance: Any, table: Mapping[str, type]) -> dict[str, Any]:
    name = next(name for name, cls in table.items() if cls is type(instance))
    return {"name": name, **asdict(instance)}


def _built(described: Mapping[str, Any], table: Mapping[str, type]) -> Any:
    parameters = dict(described)
    return table[parameters.pop("name")](**parameters)
