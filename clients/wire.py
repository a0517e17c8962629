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

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, ConfigRecordValues, RecordDict

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
REPORT = "report."  # before the name of each number of a report
ARRAYS, ROWS, STATE = "arrays", "rows", "state"  # what the tensors of a message belong to
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
    """Returns an instruction; ``arrays`` are its parameters, packed once for all clients that start from them."""
    tree, tensors = _pack_state(instruction.state)
    about: dict[str, ConfigRecordValues] = {
        "round": instruction.round,
        "sampled": list(instruction.sampled),
        "training": json.dumps(describe_training(instruction.training)),
        "state": tree,
    }
    state = {STATE: pack_arrays(tensors)} if tensors else {}
    return RecordDict({ARRAYS: arrays, **state, "about": ConfigRecord(about)})


def unpack_instruction(content: RecordDict, client_id: int) -> Instruction:
    """Returns the instruction that a message carries, for the client that has got it; raises Unreadable."""
    with _unreadable_if_odd():
        arrays = _records(content.array_records, ARRAYS, optional=STATE)
        about = _records(content.config_records, "about")["about"]
        training = json.loads(_value(about, "training", str, MAX_TRAINING))
        return Instruction(
            client_id=client_id,
            round=_value(about, "round", int),
            parameters=unpack_arrays(arrays[ARRAYS]),
            state=_unpack_state(about, unpack_arrays(arrays.get(STATE, ArrayRecord()))),
            training=training_of(training),
            sampled=tuple(map(int, _value(about, "sampled", list))),
        )


def pack_reply(reply: ClientReply) -> RecordDict:
    """Returns a client's reply: its tensors in one file, and its numbers and texts in one record."""
    tree, tensors = _pack_state(reply.state)
    groups = {ARRAYS: reply.arrays or {}, ROWS: reply.rows, STATE: tensors}
    named = {f"{group}/{name}": value for group, held in groups.items() for name, value in held.items()}
    report = {f"{REPORT}{name}": value for name, value in reply.report.items()}
    about: dict[str, ConfigRecordValues] = {"n_examples": reply.n_examples, "state": tree, **report}
    return RecordDict({"tensors": pack_arrays(named), "about": ConfigRecord(about)})


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
        record = _records(content.array_records, "tensors")["tensors"]
        about = _records(content.config_records, "about")["about"]
        report = {key.removeprefix(REPORT): value for key, value in about.items() if key.startswith(REPORT)}
        _refuse(guard.report(report))
        _refuse(_too_large(record, layout, guard))
        groups = _grouped(unpack_arrays(record))
        return ClientReply(
            client_id,
            groups[ARRAYS],
            about["n_examples"],  # type: ignore[arg-type]
            _unpack_state(about, groups[STATE]),
            report,  # type: ignore[arg-type]
            rows=groups[ROWS],
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


def _records(records: Mapping[str, T], name: str, *, optional: str | None = None) -> Mapping[str, T]:
    """Returns the records of one kind; raises Unreadable unless there is the one that is due, or one more."""
    if set(records) - {optional} != {name}:
        raise Unreadable(f"the message has {len(records)} records where {name} is due")
    return records


def _value(record: Mapping[str, Any], key: str, kind: type[T], longest: int = MAX_TREE) -> T:
    """Returns a value of the type that is due and of at most ``longest`` items; raises Unreadable."""
    value = record.get(key)
    if type(value) is not kind:
        raise Unreadable(f"{key} is a {type(value).__name__}, not {kind.__name__}")
    if isinstance(value, str | list) and len(value) > longest:
        raise Unreadable(f"{key} has length {len(value)}, allowed is {longest}")
    return value


def _too_large(record: ArrayRecord, layout: Layout, guard: Guard) -> str | None:
    """Returns why a reply is not even looked into, by its bytes, or None."""
    n_bytes, most = size_of(record), guard.max_reply_bytes(layout) + MAX_HEADER
    return f"the reply is oversized: {n_bytes} bytes, allowed are {most}" if n_bytes > most else None


def _grouped(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Returns the tensors of a reply by what they belong to."""
    groups: dict[str, dict[str, np.ndarray]] = {ARRAYS: {}, ROWS: {}, STATE: {}}
    for name, array in arrays.items():
        group, _, own = name.partition("/")
        if group not in groups:
            raise Unreadable(f"tensor {quoted(name)} belongs to nothing")
        groups[group][own] = array
    return groups


def _pack_state(state: Mapping[str, Any]) -> tuple[str, dict[str, np.ndarray]]:
    """Returns a client's state as JSON, and the tensors that it names."""
    tensors: dict[str, torch.Tensor] = {}
    tree = json.dumps(take_tensors(dict(state), tensors))
    return tree, {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}


def _unpack_state(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    state = put_tensors(json.loads(_value(about, "state", str, MAX_TREE)), tensors)
    if tensors:
        raise Unreadable(f"the state does not say where tensor {quoted(next(iter(tensors)))} belongs")
    return state


def _named(instance: Any, table: Mapping[str, type]) -> dict[str, Any]:
    name = next(name for name, cls in table.items() if cls is type(instance))
    return {"name": name, **asdict(instance)}


def _built(described: Mapping[str, Any], table: Mapping[str, type]) -> Any:
    parameters = dict(described)
    return table[parameters.pop("name")](**parameters)
