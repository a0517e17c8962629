"""Trees of plain values with tensors as leaves: taken apart for safetensors + JSON, and put together again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor


def take_tensors(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """Returns ``tree`` as JSON can hold it; each tensor moves into ``tensors`` and leaves its name in its place.

    The names are numbers: names made from a tree's keys may collide, and are as long as whoever made the keys likes.
    """
    if isinstance(tree, Tensor | np.ndarray):
        name = str(len(tensors))
        tensors[name] = torch.as_tensor(tree).contiguous()
        return {"tensor": name}
    if isinstance(tree, dict):
        return {"table": {str(key): take_tensors(value, tensors) for key, value in tree.items()}}
    if isinstance(tree, list | tuple):
        return [take_tensors(item, tensors) for item in tree]
    if isinstance(tree, float) and not math.isfinite(tree):  # JSON has no word for it
        return {"float": repr(float(tree))}
    return tree


def put_tensors(skeleton: Any, tensors: dict[str, Tensor]) -> Any:
    """Returns the tree that `take_tensors` took apart; keys come back as strings, tuples as lists.

    Each tensor leaves ``tensors`` for its place, so that none stands in two, and what is left belongs nowhere.

    Raises:
        ValueError: ``skeleton`` is no tree that `take_tensors` leaves, or names a tensor that is not there.
    """
    if isinstance(skeleton, list):
        return [put_tensors(item, tensors) for item in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    match list(skeleton.items()):
        case [("tensor", str(name))] if name in tensors:
            return tensors.pop(name)
        case [("tensor", str(name))]:
            raise ValueError(f"tensor {name[:20]!r} is not there, or stands in two places")
        case [("float", "nan" | "inf" | "-inf" as name)]:
            return float(name)
        case [("table", dict(table))]:
            return {key: put_tensors(value, tensors) for key, value in table.items()}
    raise ValueError("neither a tensor's place nor a table")
