"""What training minimises: pykeen's loss of true triples and their corruptions."""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.tasks.graph.batches import TripleBatch
from hauberk.tasks.graph.models._networks import GraphModel


def loss(model: GraphModel, batch: TripleBatch) -> Tensor:
    """Returns the mean loss of the triples of ``batch``, a float32 scalar."""
    heads, relations, tails = batch.triples.T
    n = len(batch.heads)
    negative = torch.cat(
        [
            model(batch.heads, relations[:n, None], tails[:n, None]),
            model(heads[n:, None], relations[n:, None], batch.tails),
        ]
    )
    positive = model(heads, relations, tails)[:, None]
    return model.criterion.process_slcwa_scores(positive.float(), negative.float())
