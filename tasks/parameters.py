"""A model's parameters by name or as one vector: what clients and server exchange."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn


def state_of(model: nn.Module, *, copy: bool = True) -> dict[str, Tensor]:
    """Returns what is learned: trainable floating-point parameters, then floating-point buffers, by name.

    The order is the module's own and so the same everywhere. Tied tensors come once, under their first name;
    frozen parameters, integer buffers and buffers that the model does not save are left out.

    Args:
        model: the module.
        copy: ``False`` returns detached views of the living parameters instead of copies.
    """
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad and p.is_floating_point()}
    saved = model.state_dict(keep_vars=True)
    buffers = {name: b for name, b in model.named_buffers() if name in saved and b.is_floating_point()}
    return {
        name: value.detach().clone() if copy else value.detach()
        for name, value in (learned | buffers).items()
    }


@torch.no_grad()
def load_state(model: nn.Module, state: Mapping[str, Tensor | np.ndarray] | Tensor) -> None:
    """Copies ``state``, by name or as one vector [d], into ``model``.

    Raises:
        ValueError: if names, shapes or the vector's length are not those of ``state_of(model)``.
    """
    own = state_of(model, copy=False)
    values = unflatten(state, own) if isinstance(state, Tensor) else state
    if values.keys() != own.keys():
        odd = sorted(values.keys() ^ own.keys())
        raise ValueError(f"The model and the state differ in {len(odd)} tensors, the first is '{odd[0]}'.")
    for name, target in own.items():
        if tuple(values[name].shape) != tuple(target.shape):
            shapes = f"{tuple(target.shape)}, got {tuple(values[name].shape)}"
            raise ValueError(f"'{name}' needs shape {shapes}.")
        target.copy_(torch.as_tensor(values[name]))


@torch.no_grad()
def shift_answers(model: nn.Module, by: Tensor) -> bool:
    """Adds ``by`` [n_outputs] to all of a model's answers, and returns whether it could.

    The bias of the output layer is the last tensor of a classifier; a model whose last one is none has none.
    """
    name, last = list(state_of(model, copy=False).items())[-1]
    if not name.endswith("bias") or last.shape != by.shape:
        return False
    last.add_(by.to(last))
    return True


def flatten(state: Mapping[str, Tensor | np.ndarray]) -> Tensor:
    """Returns all tensors of ``state`` side by side in its order, float32 [d]."""
    return torch.cat([torch.as_tensor(value).reshape(-1).float() for value in state.values()])


def unflatten(vector: Tensor, like: Mapping[str, Tensor | np.ndarray]) -> dict[str, Tensor]:
    """Returns the tensors of which ``vector`` [d] is made: views of it, named and shaped as ``like``.

    A model says its own shapes. `hauberk.strategies.layout.Layout` cuts rows by the shapes that a server announced,
    and has a line of its own for it: neither package knows the other.

    Raises:
        ValueError: if ``vector`` has not as many numbers as ``like``.
    """
    shapes = {name: tuple(value.shape) for name, value in like.items()}
    sizes = [int(np.prod(shape, dtype=np.int64)) for shape in shapes.values()]
    if vector.dim() != 1 or len(vector) != sum(sizes):
        raise ValueError(
            f"These tensors hold {sum(sizes)} numbers, the vector has shape {tuple(vector.shape)}."
        )
    pieces = torch.split(vector, sizes)
    return {name: piece.view(shape) for piece, (name, shape) in zip(pieces, shapes.items(), strict=True)}
