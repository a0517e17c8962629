"""torch's optimizers without its compiler, whose import takes a second or two and which nobody here uses."""

from __future__ import annotations

from functools import cache
from inspect import unwrap
from types import FunctionType
from typing import TypeVar

import torch

Optimizer = TypeVar("Optimizer", bound=torch.optim.Optimizer)


@cache
def uncompiled(kind: type[Optimizer]) -> type[Optimizer]:
    """Returns an optimizer's class that computes the same bits as ``kind`` and imports no compiler.

    torch wraps the methods of its optimizers so that a compiler leaves them out, and imports that compiler, at the
    first call of any, to say so. What they wrap does the work.
    """
    own = {
        name: unwrap(method)
        for above in reversed(kind.__mro__)
        for name, method in vars(above).items()
        if isinstance(method, FunctionType) and hasattr(method, "__wrapped__")
    }
    own["step"] = torch.no_grad()(
        unwrap(kind.step)
    )  # as torch's wrapper does where nothing is "differentiable"
    return type(kind.__name__, (kind,), own)
