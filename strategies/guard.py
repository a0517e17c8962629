"""The guard in front of every aggregator: a reply becomes a row only if nothing about it is odd.

Each function says why a reply is refused in one line, or None; nothing here raises for what a client sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.strategies.base import check_integer, check_range
from hauberk.strategies.client_state import finite, report_oddity, shown, state_oddity
from hauberk.strategies.layout import Layout, Slot
from hauberk.strategies.printable import brief, quoted

_SPARE_BYTES = 1 << 20
_SPARE_ARRAYS = 64


@dataclass(frozen=True, kw_only=True)
class Guard:
    """Refuses odd replies.

    Args:
        max_examples: the largest example count a client may claim.
        max_norm: the largest Euclidean norm of an update, or None for no limit. A robust rule sees to huge
            rows itself; a limit helps a mean.
        max_size: how many times the bytes of the layout a reply may hold, integer buffers included.
        state_ratio: how many times the bytes of the layout a client's state may hold; to each of both limits a
            mebibyte comes, for models that are smaller than what surrounds them.
        report_keys: how many numbers a report may hold.
    """

    max_examples: float = 1e7
    max_norm: float | None = None
    max_size: float = 2.0
    state_ratio: float = 4.0
    report_keys: int = 256

    def __post_init__(self) -> None:
        for name in ("max_examples", "max_norm", "max_size"):
            if getattr(self, name) is not None:
                check_range(self, name, above=0)
        check_range(self, "state_ratio", least=0)
        check_integer(self, "report_keys", least=0)

    def structure(
        self,
        arrays: Mapping[str, Any] | None,
        n_examples: float,
        error: str | None,
        layout: Layout,
        rows: Mapping[str, Any] = MappingProxyType({}),
    ) -> str | None:
        """Returns why a reply is refused by its form, or None; ``rows`` as in `Reply.rows`."""
        if error is not None:
            return f"error reply: {brief(error)}"
        if not isinstance(arrays, Mapping):
            return "the reply holds no tensors"
        return (
            self.examples(n_examples)
            or self.too_many(len(arrays), layout)
            or _first(_odd_name(name, array, layout) for name, array in arrays.items())
            or _odd_rows(rows, layout)
            or _first(_odd_tensor(slot, arrays.get(slot.name), rows.get(slot.name)) for slot in layout)
            or self.oversized(sum(array.nbytes for array in arrays.values()), layout)
        )

    def row(self, row: Tensor, layout: Layout) -> str | None:
        """Returns why an update, shape [n_params], is refused by its values, or None."""
        if row.numel() and not all(torch.isfinite(end) for end in torch.aminmax(row)):
            return _first(_not_finite(slot, row[slot.slice]) for slot in layout)
        if self.max_norm is not None:
            norm = float(row.double().norm())
            if norm > self.max_norm:
                return f"the update has norm {norm:.6g}, the limit is {self.max_norm:.6g}"
        return None

    def examples(self, n_examples: float) -> str | None:
        """Returns why a claimed example count is refused, or None."""
        if isinstance(n_examples, bool) or not isinstance(n_examples, int | float | np.integer | np.floating):
            return f"the example count is a {type(n_examples).__name__}, not a number"
        number = n_examples.item() if isinstance(n_examples, np.generic) else n_examples
        if not finite(number) or not 0 < number <= self.max_examples:
            return (
                f"it claims {shown(number)} examples, allowed are more than 0, at most {self.max_examples:g}"
            )
        return None

    def state(self, state: object, layout: Layout) -> str | None:
        """Returns why what a client wants back in its next round is refused, or None."""
        return state_oddity(state, self.max_state_bytes(layout))

    def report(self, report: object) -> str | None:
        """Returns why a client's report is refused, or None."""
        return report_oddity(report, self.report_keys)

    def oversized(self, n_bytes: int, layout: Layout) -> str | None:
        """Returns why a reply of ``n_bytes`` is refused, or None."""
        due = bytes_of(layout)
        if n_bytes > self.max_size * due + _SPARE_BYTES:
            return f"the reply is oversized: {n_bytes} bytes where {due} are due"
        return None

    def too_many(self, n_arrays: int, layout: Layout) -> str | None:
        """Returns why a reply of ``n_arrays`` is refused, or None: each of a model's tensors may bring a buffer."""
        most = 2 * len(layout) + _SPARE_ARRAYS
        if n_arrays > most:
            return f"the reply holds {n_arrays} tensors, allowed are {most}"
        return None

    def max_reply_bytes(self, layout: Layout) -> int:
        """Returns how many bytes a whole reply may have before anyone looks into it."""
        return int(self.max_size * bytes_of(layout)) + 2 * _SPARE_BYTES + self.max_state_bytes(layout)

    def max_state_bytes(self, layout: Layout) -> int:
        """Returns how many bytes a client's state may hold."""
        return int(self.state_ratio * bytes_of(layout)) + _SPARE_BYTES


def bytes_of(layout: Layout) -> int:
    """Returns the bytes of the tensors of ``layout``."""
    return sum((slot.stop - slot.start) * np.dtype(slot.dtype).itemsize for slot in layout)


def _first(reasons: Iterable[str | None]) -> str | None:
    return next((reason for reason in reasons if reason is not None), None)


def _odd_name(name: object, array: object, layout: Layout) -> str | None:
    if not isinstance(name, str) or not isinstance(array, np.ndarray):
        return f"tensor {quoted(name)} is a {type(array).__name__}, not an array"
    known = any(slot.name == name for slot in layout)
    # Integer buffers (counters, masks) pass by themselves: they have no place in a row.
    if not known and array.dtype.kind not in "biu":
        return f"unknown tensor {quoted(name)}"
    return None


def _odd_rows(rows: object, layout: Layout) -> str | None:
    if not isinstance(rows, Mapping):
        return f"its rows are a {type(rows).__name__}, not named arrays"
    slots = {slot.name: slot for slot in layout}
    for name, chosen in rows.items():
        if name not in slots or not slots[name].shape:
            return f"it names rows of tensor {quoted(name)}, which has none"
        if not isinstance(chosen, np.ndarray) or chosen.ndim != 1 or chosen.dtype != np.int64:
            return f"the rows of tensor {quoted(name)} are no row of int64"
        if len(chosen) and (
            chosen[0] < 0 or chosen[-1] >= slots[name].shape[0] or np.any(chosen[1:] <= chosen[:-1])
        ):
            return f"the rows of tensor {quoted(name)} are not ascending numbers below {slots[name].shape[0]}"
    return None


def _odd_tensor(slot: Slot, array: np.ndarray | None, rows: np.ndarray | None) -> str | None:
    if array is None:
        return f"tensor {quoted(slot.name)} is missing"
    shape = slot.shape if rows is None else (len(rows), *slot.shape[1:])
    if array.shape != shape:
        return f"tensor {quoted(slot.name)} has shape {array.shape}, expected {shape}"
    if str(array.dtype) != slot.dtype:
        return f"tensor {quoted(slot.name)} has dtype {array.dtype}, expected {slot.dtype}"
    return None


def _not_finite(slot: Slot, part: Tensor) -> str | None:
    n_bad = int((~torch.isfinite(part)).sum())
    return f"tensor {quoted(slot.name)} holds {n_bad} values that are NaN or infinite" if n_bad else None
