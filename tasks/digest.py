"""A digest of what values hold: the same in every process, another where anything differs."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Set
from functools import cache
from typing import Any

import numpy as np
import torch

ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
SCALARS = (type(None), bool, int, float, complex, str, bytes)


def digest_of(value: Any) -> str:
    """Returns the SHA-256 of what ``value`` holds, in hexadecimal digits.

    A value is a scalar, a tensor or an array, a sequence, a set or a mapping, a dataclass, a module of torch, an object
    with a ``hash_key`` that stands for all that it holds, or one whose ``repr`` says all of it.

    Raises:
        TypeError: something in it shows nothing but its address, which another process does not have.
    """
    digest = hashlib.sha256()
    _feed(value, digest.update)
    return digest.hexdigest()


def _feed(value: Any, update: Callable[[bytes], None]) -> None:
    """Hands the bytes of ``value`` on, each part behind its kind and length, so that no two values give the same."""
    if isinstance(value, SCALARS):
        _feed_text(repr(value), update)
    elif hasattr(value, "hash_key"):
        _feed_parts(type(value).__qualname__, [value.hash_key], update)
    elif isinstance(value, torch.Tensor | np.ndarray):
        _feed_array(value, update)
    elif isinstance(value, torch.nn.Module):
        _feed_parts(repr(value), [value.state_dict()], update)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind, names = _fields_of(type(value))
        parts = [getattr(value, name) for name in names]
        if all(isinstance(part, SCALARS) for part in parts):  # an example: there are many of them
            _feed_text(f"{kind}{parts}", update)
        else:
            _feed_parts(kind, parts, update)
    elif isinstance(value, Mapping):
        _feed_parts("mapping", sorted(value.items(), key=repr), update)
    elif isinstance(value, Set):
        _feed_parts("set", sorted(value, key=repr), update)
    elif isinstance(value, list | tuple):
        _feed_parts("sequence", value, update)
    else:
        _feed_text(_description(value), update)


@cache
def _fields_of(cls: type) -> tuple[str, list[str]]:
    """Returns the name of a dataclass with those of its fields, and the latter."""
    names = [field.name for field in dataclasses.fields(cls)]
    return f"{cls.__qualname__}{names}", names


def _feed_parts(kind: str, parts: Any, update: Callable[[bytes], None]) -> None:
    _feed_text(f"{kind} of {len(parts)}", update)
    for part in parts:
        _feed(part, update)


def _feed_array(value: Any, update: Callable[[bytes], None]) -> None:
    _feed_text(f"array {value.dtype} {tuple(value.shape)}", update)
    if isinstance(value, torch.Tensor):  # numpy has no bfloat16, so its bytes
        value = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    update(np.ascontiguousarray(value).tobytes())


def _feed_text(text: str, update: Callable[[bytes], None]) -> None:
    blob = text.encode("utf8", "surrogatepass")
    update(b"%d:" % len(blob))
    update(blob)


def _description(value: Any) -> str:
    text = repr(value)
    if ADDRESS.search(text):
        raise TypeError(f"{type(value).__qualname__} shows nothing but its address")
    return text
