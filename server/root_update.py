"""The server's own update: the honest loop on its own clean examples, for the rules that trust it."""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.clients.session import Session
from hauberk.clients.settings import Training
from hauberk.tasks.parameters import flatten, load_state, state_of
from hauberk.tasks.seeds import seeded
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.models.base import TextModel


def root_update(
    model: TextModel,
    parameters: Tensor,
    clean: Encoded,
    training: Training,
    rng: torch.Generator,
    device: str,
) -> Tensor:
    """Returns the update that training on ``clean`` from ``parameters`` gives, shape [n_params]; overwrites ``model``.

    Source: Cao et al., "FLTrust", NDSS 2021, section 4: the server trains as its clients do.
    """
    load_state(model, parameters)
    with seeded(rng):
        Session(model=model, data=clean, training=training, rng=rng, device=device).train()
    return flatten(state_of(model, copy=False)).cpu() - parameters
