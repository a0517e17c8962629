"""Trees of plain values with tensors as leaves: taken apart for safetensors + JSON, and put together again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def take_tensors(tree: Any, prefix: str, tensors: dict[str, Tensor]) -> Any:
    """Returns ``tree`` as JSON can hold it; each tensor moves into ``tensors`` and leaves its key in its place."""
    if isinstance(tree, Tensor | np.ndarray):
        tensors[prefix] = torch.as_tensor(tree).contiguous()
        return {"tensor": prefix}
    if isinstance(tree, dict):
        return {
            "table": {
                str(key): take_tensors(value, f"{prefix}/{key}", tensors) for key, value in tree.items()
            }
        }
    if isinstance(tree, list | tuple):
        return [take_tensors(item, f"{prefix}/{i}", tensors) for i, item in enumerate(tree)]
    return tree


def put_tensors(skeleton: Any, tensors: dict[str, Tensor]) -> Any:
    """Returns the tree that `take_tensors` took apart; keys come back as strings, tuples as lists."""
    if isinstance(skeleton, dict) and "tensor" in skeleton:
        return tensors[skeleton["tensor"]]
    if isinstance(skeleton, dict):
        return {key: put_tensors(value, tensors) for key, value in skeleton["table"].items()}
    return [put_tensors(item, tensors) for item in skeleton] if isinstance(skeleton, list) else skeleton
