"""What a client may leave with the server: trees of numbers, texts and tensors that JSON and safetensors can hold.

A client's ``state`` comes from a peer, is written into every checkpoint and goes back to the client in its next round.
What passes here is plain, small and finite, shares no memory with anything, and comes back from a file as it went in.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.strategies.printable import quoted

DTYPES = frozenset(
    {"bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64"}
)  # what NumPy, torch and safetensors all have
MAX_DEPTH = 8  # containers within each other
MAX_ITEMS = 10_000  # of a tree: values and containers
MAX_TENSORS = 500  # each has an entry in a checkpoint's header, whose size safetensors limits
MAX_TEXT = 10_000  # characters of one text
MAX_KEY = 200  # characters of one key
MAX_CHARACTERS = 1 << 20  # of all texts and keys of a state
_NUMBER_BYTES = 8


def state_oddity(state: object, max_bytes: float) -> str | None:
    """Returns why a client's state is refused, in one line, or None; no tensor is copied before its size is known.

    Args:
        state: a table of text keys; its values are None, bool, int, float, str, arrays, tensors, or lists and tables of
            those.
        max_bytes: how much its tensors, texts and numbers may hold together.
    """
    if not isinstance(state, Mapping):
        return f"the state is a {type(state).__name__}, not a table"
    n_items, n_tensors, n_characters, n_bytes = 1, 0, 0, 0
    waiting: list[tuple[str, object, int]] = [("", state, 1)]  # name, value, depth
    while waiting:
        name, value, depth = waiting.pop()
        if isinstance(value, Mapping | list | tuple):
            n_items += len(value)
            if depth > MAX_DEPTH or n_items > MAX_ITEMS:
                return _too_large(depth, n_items)
            if reason := next(filter(None, map(_odd_key, value if isinstance(value, Mapping) else ())), None):
                return reason
            waiting += [(below, part, depth + 1) for below, part in _parts(name, value)]
        n_tensors += isinstance(value, Tensor | np.ndarray)
        n_characters += _characters_of(value)
        n_bytes += _bytes_of(value)
        if n_bytes > max_bytes or n_tensors > MAX_TENSORS or n_characters > MAX_CHARACTERS:
            return _too_heavy(n_bytes, max_bytes, n_tensors, n_characters)
        if reason := _odd_value(name, value):
            return reason
    return None


def report_oddity(report: object, max_keys: int) -> str | None:
    """Returns why a client's report is refused, in one line, or None: it holds at most ``max_keys`` finite numbers."""
    if not isinstance(report, Mapping):
        return f"the report is a {type(report).__name__}, not a table"
    if len(report) > max_keys:
        return f"the report has {len(report)} numbers, allowed are {max_keys}"
    for key, value in report.items():
        if not isinstance(key, str) or _odd_text(key, MAX_KEY):
            return f"report {quoted(key)} is no name: texts of at most {MAX_KEY} characters in UTF-8 are"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"report {quoted(key)} is a {type(value).__name__}, not a number"
        if not finite(value):
            return f"report {quoted(key)} is {shown(value)}, allowed are finite numbers"
    return None


def copied(value: Any) -> Any:
    """Returns a state that `state_oddity` passes, with memory of its own; arrays become CPU tensors, tuples lists."""
    if isinstance(value, Mapping):
        return {key: copied(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [copied(below) for below in value]
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value, order="C"))
    if isinstance(value, Tensor):
        return value.detach().cpu().clone(memory_format=torch.contiguous_format)
    return value


def finite(number: float) -> bool:
    """Returns whether a number is finite and, if whole, fits 64 bits: JSON's readers disagree on longer ones."""
    return abs(number) < 2**63 if isinstance(number, int) else isfinite(number)


def shown(number: float) -> str:
    """Returns a number in a few characters, whatever its size."""
    return f"{number:g}" if finite(number) or isinstance(number, float) else "a number of more than 64 bits"


def _parts(name: str, container: Any) -> list[tuple[str, object]]:
    """Returns the values of a container by name; those of a list have its own."""
    return list(container.items()) if isinstance(container, Mapping) else [(name, part) for part in container]


def _characters_of(value: object) -> int:
    """Returns the characters of a text or of a table's keys."""
    if isinstance(value, Mapping):
        return sum(map(len, value))
    return len(value) if isinstance(value, str) else 0


def _bytes_of(value: object) -> int:
    """Returns how much a value holds, without what is in a container."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    return value.nbytes if isinstance(value, np.ndarray) else _NUMBER_BYTES + 4 * _characters_of(value)


def _odd_key(key: object) -> str | None:
    if not isinstance(key, str):
        return f"state {quoted(key)} has a key of type {type(key).__name__}, not a text"
    odd = _odd_text(key, MAX_KEY)
    return f"state {quoted(key)} has a key {odd}" if odd else None


def _odd_value(name: str, value: object) -> str | None:
    if isinstance(value, Tensor | np.ndarray):
        odd = _odd_tensor(value)
    elif isinstance(value, str):
        odd = _odd_text(value, MAX_TEXT)
        odd = odd and f"is a text {odd}"
    elif isinstance(value, int | float):
        odd = None if finite(value) else f"is {shown(value)}, allowed are finite numbers"
    elif value is None or isinstance(value, Mapping | list | tuple):
        odd = None
    else:
        odd = f"is a {type(value).__name__}, allowed are numbers, texts, tensors, lists and tables"
    return f"state {quoted(name)} {odd}" if odd else None


def _odd_text(text: str, longest: int) -> str | None:
    if len(text) > longest:
        return f"of {len(text)} characters, allowed are {longest}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "that UTF-8 cannot hold"
    return None


def _odd_tensor(value: Tensor | np.ndarray) -> str | None:
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in DTYPES:
        return f"has dtype {dtype}, allowed are {', '.join(sorted(DTYPES))}"
    if isinstance(value, Tensor) and (value.layout != torch.strided or value.is_meta):
        return "is a sparse or empty tensor, allowed are plain ones"
    everywhere = torch.isfinite(value).all() if isinstance(value, Tensor) else np.isfinite(value).all()
    return None if everywhere else "holds values that are NaN or infinite"


def _too_large(depth: int, n_items: int) -> str:
    if depth > MAX_DEPTH:
        return f"the state is {depth} levels deep, allowed are {MAX_DEPTH}"
    return f"the state has {n_items} values, allowed are {MAX_ITEMS}"


def _too_heavy(n_bytes: int, max_bytes: float, n_tensors: int, n_characters: int) -> str:
    if n_bytes > max_bytes:
        return f"the state holds {n_bytes} bytes, allowed are {max_bytes:.0f}"
    if n_tensors > MAX_TENSORS:
        return f"the state has {n_tensors} tensors, allowed are {MAX_TENSORS}"
    return f"the state has {n_characters} characters of text, allowed are {MAX_CHARACTERS}"
