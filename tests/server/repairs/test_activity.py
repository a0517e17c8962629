"""How active units are: by hand, and whatever the padding."""

import numpy as np
import torch
from torch import nn

from hauberk.server.repairs._activity import mean_activity, prunable
from hauberk.tasks.text.encoding import Encoded


class Narrowing(nn.Module):
    """Reads tokens as numbers: two units, t and -2 t, through a layer that narrows, and the same for a text's first."""

    def __init__(self):
        super().__init__()
        self.states, self.first = nn.Linear(2, 1), nn.Linear(2, 1)
        self.lora_A = nn.ModuleDict({"lora_A": nn.Linear(2, 1)})
        self.frozen = nn.Linear(2, 1).requires_grad_(False)

    def forward(self, batch):
        units = torch.stack([batch.tokens, -2 * batch.tokens], dim=-1).float()
        return self.states(units).sum(dim=1) + self.first(units[:, 0])


def encoded(*texts):
    return Encoded(
        tokens=np.concatenate(texts).astype(np.int32),
        offsets=np.cumsum([0, *map(len, texts)]).astype(np.int64),
        labels=np.zeros(len(texts), dtype=np.int64),
        index=np.arange(len(texts)),
        pad_id=99,
    )


def test_padding_is_not_counted_and_every_token_is_once():
    found = mean_activity(Narrowing(), encoded([1, 2, 3, 4, 5, 6, 7, 8], [9]))
    assert found["states"].tolist() == [5.0, 10.0]
    assert found["first"].tolist() == [5.0, 10.0]


def test_frozen_layers_and_adapters_have_no_units_to_prune():
    assert sorted(prunable(Narrowing())) == ["first", "states"]
