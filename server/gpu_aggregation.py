"""Aggregates on the GPU where the round's matrix fits there, and on the processor where it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hauberk.strategies.base import Aggregation, AggregationContext
from hauberk.strategies.kernels.geometry import Geometry

ROOM = 1.5  # times the matrix: what a rule may need beside it, the result included
MODELS = 3  # of each model that a rule keeps: the old one, the new one and a change
ON_GPU = "aggregate/on_gpu"


def aggregate_where_it_fits(
    rule: Any, updates: Tensor, context: AggregationContext, state: Any, device: str
) -> Aggregation:
    """Returns the rule's aggregation of ``updates`` [n_clients, n_params] in main memory, the result there too.

    With a GPU the report says in ``aggregate/on_gpu`` whether the matrix went there (1) or was too large (0).
    """
    if not device.startswith("cuda"):
        return rule(updates, context=context, state=state)
    if _needed(rule, updates, state) > torch.cuda.mem_get_info(device)[0]:
        return _with_note(rule(updates, context=context, state=state), 0.0)
    return _with_note(aggregate_on(device, rule, updates, context, state), 1.0)


def _needed(rule: Any, updates: Tensor, state: Any) -> float:
    """Returns how many bytes a rule may need for ``updates`` and what it remembers."""
    remembered = sum(value.nbytes for value in (state or {}).values() if isinstance(value, Tensor))
    kept = getattr(rule, "n_groups", 0) * updates[0].nbytes
    return ROOM * updates.nbytes + max(2 * remembered, MODELS * kept)


def aggregate_on(
    device: str, rule: Any, updates: Tensor, context: AggregationContext, state: Any
) -> Aggregation:
    """Returns the rule's aggregation, computed on ``device`` and brought back."""
    parameters, root = moved(context.parameters, device), moved(context.root_update, device)
    known = replace(context, parameters=parameters, root_update=root)
    result = rule(updates.to(device), context=known, state=moved(state, device))
    return replace(
        result,
        update=result.update.cpu(), weight=moved(result.weight, "cpu"), state=moved(result.state, "cpu"),
        geometry=moved(result.geometry, "cpu"),
    )  # fmt: skip


def moved(tree: Any, device: str) -> Any:
    """Returns a tree of plain values and tensors with its tensors on ``device``."""
    if isinstance(tree, Tensor):
        return tree.to(device)
    if isinstance(tree, Geometry):
        return Geometry(**moved(vars(tree), device))
    if isinstance(tree, dict):
        return {key: moved(value, device) for key, value in tree.items()}
    return type(tree)(moved(item, device) for item in tree) if type(tree) in (list, tuple) else tree


def _with_note(result: Aggregation, on_gpu: float) -> Aggregation:
    return replace(result, report={**result.report, ON_GPU: on_gpu})
