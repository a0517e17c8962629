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
    """Returns the tree that `take_tensors` took apart; keys come back as strings, tuples as lists."""
    if isinstance(skeleton, dict) and "tensor" in skeleton:
        return tensors[skeleton["tensor"]]
    if isinstance(skeleton, dict) and "float" in skeleton:
        return float(skeleton["float"])
    if isinstance(skeleton, dict):
        return {key: put_tensors(value, tensors) for key, value in skeleton["table"].items()}
    return [put_tensors(item, tensors) for item in skeleton] if isinstance(skeleton, list) else skeleton
