"""Where tensors live: the device that a name stands for in this process."""

from __future__ import annotations

import torch


def resolve_device(name: str) -> str:
    """Returns the device that ``name`` stands for here: ``auto`` is a GPU where there is one."""
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
