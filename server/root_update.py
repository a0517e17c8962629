"""The server's own update: the honest loop on its own clean examples, for the rules that trust it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hauberk.clients.session import Session
from hauberk.clients.settings import Training
from hauberk.tasks.base import EncodedExamples, Task
from hauberk.tasks.parameters import flatten, load_state, state_of
from hauberk.tasks.seeds import seeded


def root_update(
    task: Task,
    model: nn.Module,
    parameters: Tensor,
    clean: EncodedExamples,
    training: Training,
    rng: torch.Generator,
    device: str,
) -> Tensor:
    """Returns the update that training on ``clean`` from ``parameters`` gives, shape [n_params]; overwrites ``model``.

    Source: Cao et al., "FLTrust", NDSS 2021, section 4: the server trains as its clients do.
    """
    load_state(model, parameters)
    with seeded(rng):
        Session(task=task, model=model, data=clean, training=training, rng=rng, device=device).train()
    return flatten(state_of(model, copy=False)).cpu() - parameters
