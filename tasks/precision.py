"""In which precision models compute."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from hauberk.tasks.errors import UserError

PRECISIONS = ("float32", "bfloat16")


def autocast(precision: str, device: str = "cpu") -> AbstractContextManager:
    """Returns the context in which a model computes with ``precision``, one of PRECISIONS.

    Raises:
        UserError: if it is none of them.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision must be one of {', '.join(PRECISIONS)}, got '{precision}'.")
    kind = torch.device(device).type
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bfloat16")
