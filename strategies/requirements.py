"""What a rule was given beside the rows: one clear line where it is missing or does not fit."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from hauberk.strategies.base import AggregationContext
from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.layout import Layout, Slot


def required_vector(rule: object, context: AggregationContext, name: str, updates: Updates) -> Tensor:
    """Returns the vector ``name`` of ``context``, shape [n_params].

    Raises:
        ValueError: if it is missing, or not as long as the rows of ``updates``.
    """
    vector = getattr(context, name)
    if vector is None:
        raise _missing(rule, name)
    if vector.shape != updates.shape[1:]:
        raise ValueError(
            f"{type(rule).__name__} needs {name} of shape ({updates.shape[1]},), got {tuple(vector.shape)}."
        )
    return vector.detach()


def required_layout(rule: object, context: AggregationContext, updates: Updates) -> Layout:
    """Returns the layout of ``context``; raises ValueError if there is none or it is not that of the rows."""
    if context.layout is None:
        raise _missing(rule, "layout")
    return check_layout_size(rule, context.layout, updates)


def check_layout_size(rule: object, layout: Layout, updates: Updates) -> Layout:
    """Returns ``layout``; raises ValueError unless it has as many parameters as the rows."""
    if layout.n_params != updates.shape[1]:
        raise ValueError(
            f"{type(rule).__name__} needs a layout of {updates.shape[1]} parameters, got {layout.n_params}."
        )
    return layout


def required_logits(rule: object, context: AggregationContext) -> Callable[[Tensor], Tensor]:
    """Returns the function ``logits`` of ``context``; raises ValueError if there is none."""
    if context.logits is None:
        raise _missing(rule, "logits")
    return context.logits


def output_layer(layout: Layout) -> tuple[Slot, Slot | None]:
    """Returns the weight of the output layer, and its bias if it has one.

    It is the last tensor of two or more dimensions, and the vector right after it if there is one: where the
    classifier stands in any model whose layers are listed from the input to the output.

    Raises:
        ValueError: if no tensor has two dimensions.
    """
    last = max((place for place, slot in enumerate(layout) if len(slot.shape) >= 2), default=None)
    if last is None:
        raise ValueError(f"No tensor of the layout is an output layer: none of {len(layout)} is a matrix.")
    after = layout.slots[last + 1 : last + 2]
    bias = after[0] if after and len(after[0].shape) == 1 else None
    return layout.slots[last], bias


def _missing(rule: object, name: str) -> ValueError:
    return ValueError(f"{type(rule).__name__} needs {name}: give it as AggregationContext({name}=...).")
