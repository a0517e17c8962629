"""Flower's messages and records, read into rows and written back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from hauberk.strategies.flower.client_metrics import mean_metrics
from hauberk.strategies.guard import Guard
from hauberk.strategies.layout import Layout, layout_of
from hauberk.strategies.npy import read_npy
from hauberk.strategies.printable import brief
from hauberk.strategies.update_matrix import Reply


@dataclass(frozen=True, eq=False)
class Sent:
    """What a round's clients were sent.

    Attributes:
        arrays: as Flower sends them.
        layout: name, shape and place of each tensor.
        parameters: the float tensors as one vector, shape [n_params].
        asked: the nodes.
    """

    arrays: ArrayRecord
    layout: Layout
    parameters: Tensor
    asked: tuple[int, ...]

    @classmethod
    def to(cls, nodes: Sequence[int], arrays: ArrayRecord) -> Sent:
        """Returns what ``nodes`` are sent with ``arrays``."""
        values = unpacked(arrays)
        layout = layout_of(values)
        return cls(arrays, layout, flat(values, layout), tuple(nodes))

    def moved(self, update: Tensor) -> ArrayRecord:
        """Returns the arrays plus ``update`` [n_params], each in its own dtype; integer buffers as they were sent."""
        vector = (self.parameters + update).numpy()
        arrays = dict(self.arrays)
        for slot in self.layout:
            arrays[slot.name] = Array(vector[slot.slice].reshape(slot.shape).astype(slot.dtype))
        return ArrayRecord(arrays)


def unpacked(record: ArrayRecord) -> dict[str, np.ndarray]:
    """Returns the arrays of ``record`` by name, as views of its bytes; raises ValueError for what is no array."""
    return {name: read_npy(array.data) for name, array in record.items()}


def flat(values: Mapping[str, np.ndarray], layout: Layout) -> Tensor:
    """Returns the tensors of ``layout`` as one vector, shape [n_params]; float64 if one of them is."""
    double = any(slot.dtype == "float64" for slot in layout)
    vector = np.empty(layout.n_params, dtype=np.float64 if double else np.float32)
    for slot in layout:
        vector[slot.slice] = values[slot.name].reshape(-1)
    return torch.from_numpy(vector)


def reply_of(message: Message, layout: Layout, guard: Guard, weighted_by_key: str) -> Reply:
    """Returns a client's reply, with the reason in it where it cannot be read."""
    node = message.metadata.src_node_id
    error = error_of(message)
    if error is not None:
        return Reply(node, None, error=error)
    records = message.content.array_records
    if len(records) != 1:
        return Reply(node, None, error=f"the reply holds {len(records)} array records, expected 1")
    record = next(iter(records.values()))
    # Before anything is unpacked: how much may it cost?
    error = guard.oversized(sum(len(array.data) for array in record.values()), layout)
    if error is not None:
        return Reply(node, None, error=error)
    try:
        arrays = unpacked(record)
    except Exception as unreadable:  # whatever bytes a liar sends: refused, never a crash
        return Reply(node, None, error=f"unreadable tensors: {unreadable}")
    return Reply(node, arrays, n_examples_of(message.content, weighted_by_key))


def n_examples_of(content: RecordDict, weighted_by_key: str) -> Any:
    """Returns the client's claim, whatever it is; 1 if it makes none."""
    claims = (r[weighted_by_key] for r in content.metric_records.values() if weighted_by_key in r)
    return next(claims, 1)


def error_of(message: Message) -> str | None:
    """Returns the last line of an error reply, where a traceback names the exception, or None."""
    if not message.has_error():
        return None
    lines = (message.error.reason or "").strip().splitlines()
    return brief(lines[-1]) if lines else f"error code {message.error.code}"


def mean_record(contents: list[RecordDict], weighted_by_key: str) -> MetricRecord:
    """Returns the clients' mean metrics, without the key that weighs them, as Flower's own does."""
    reports: list[dict[str, Any]] = [
        {name: value for record in content.metric_records.values() for name, value in record.items()}
        for content in contents
    ]
    claims = [float(report.pop(weighted_by_key, 1)) for report in reports]
    return MetricRecord(mean_metrics(reports, claims))
