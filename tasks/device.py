"""Where tensors live: the device that a name stands for in this process, and what makes it give the same bits twice."""

from __future__ import annotations

import os

import torch

from hauberk.tasks.errors import UserError


def resolve_device(name: str) -> str:
    """Returns the device that ``name`` stands for here: ``auto`` is a GPU where there is one.

    On a GPU torch is told to compute the same bits each time, where it has an algorithm that does.

    Raises:
        UserError: a GPU is named and torch sees none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        _check_gpu(name)
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA is first used
        torch.use_deterministic_algorithms(True, warn_only=True)
    return name


def _check_gpu(name: str) -> None:
    number = int(name.partition(":")[2] or 0)
    if number >= torch.cuda.device_count():
        raise UserError(
            f"device: {name!r} is not there: torch sees {torch.cuda.device_count()} GPUs in this process; "
            "'auto' takes one where there is one"
        )
