"""How a model answers to noise: its outputs for random inputs, for the rules that look at behaviour.

Source: the random inputs of DeepSight (Rieger et al., NDSS 2022); what a random input is, the task says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.tasks.base import Task
from hauberk.tasks.parameters import load_state


def probe_logits(
    task: Task, model: nn.Module, rule: Any, rng: torch.Generator, *, precision: str, device: str
) -> Callable[[Tensor], Tensor]:
    """Returns a function from parameters [n_params] to logits [n_inputs, n_classes]; it overwrites ``model``."""
    stage = getattr(rule, "rule", rule)  # a chain ends in its rule
    n_inputs = getattr(stage, "n_inputs", 1000) * getattr(stage, "n_seeds", 1)
    inputs = task.random_inputs(n_inputs, model, rng)

    def logits(parameters: Tensor) -> Tensor:
        load_state(model, parameters)
        return task.predict(model, inputs, batch_size=512, precision=precision, device=device)

    return logits
