"""How FLCert answers: each group's model has a vote, and how many clients could not have changed the answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from hauberk.strategies.mapped import VECTOR
from hauberk.strategies.serving import Answer, Served


@dataclass(frozen=True, kw_only=True, eq=False)
class Votes:
    """Models that vote.

    Attributes:
        clients: who trained each model.
        models: their parameters, each [n_params].
    """

    clients: tuple[tuple[int, ...], ...]
    models: tuple[Tensor, ...]

    def __call__(self, answer: Answer) -> Served:
        """Returns shares of votes as logits, who is outvoted as left out, and the certificates."""
        votes = torch.stack([answer(model, None).argmax(dim=1) for model in self.models], dim=1)
        n_classes = answer(self.models[0], torch.zeros(1, dtype=torch.int64)).shape[1] if len(votes) else 1
        counts = one_hot(votes, n_classes).sum(dim=1)
        logits = self._logits(counts)
        outvoted = votes != logits.argmax(dim=1, keepdim=True)
        return Served(logits, outvoted, len(votes) * len(self.models), certified(counts), votes)

    def worst(self, served: Served, liars: Collection[int], target: int) -> Tensor:
        """Returns the answers if each group with a liar voted for ``target``; the others never hear of it."""
        assert served.votes is not None
        owned = [group for group, ids in enumerate(self.clients) if not set(liars).isdisjoint(ids)]
        votes = served.votes.clone()
        votes[:, owned] = target
        return self._logits(one_hot(votes, served.logits.shape[1]).sum(dim=1))

    def _logits(self, counts: Tensor) -> Tensor:
        return (_ordered(counts) / len(self.models)).float()

    def packed(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Returns its tensors by name, and the rest; see `unpacked`."""
        tensors = {f"{VECTOR}{group}": model for group, model in enumerate(self.models)}
        return tensors, {"clients": [list(ids) for ids in self.clients]}


def unpacked(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Votes:
    """Returns what was `Votes.packed`; raises KeyError where a part is missing."""
    clients = tuple(tuple(ids) for ids in about["clients"])
    return Votes(clients=clients, models=tuple(tensors[f"{VECTOR}{group}"] for group in range(len(clients))))


def certified(counts: Tensor) -> Tensor:
    """Returns how many malicious clients cannot change each answer, int64 [n_inputs] (FLCert, theorem 1).

    A client is in one group and changes one vote at most, which costs the answer's class y one vote and gives the
    runner-up one: with n_z the votes of class z, floor((n_y - max over z != y of (n_z + [z < y])) / 2).

    Args:
        counts: votes, int64 [n_inputs, n_classes].
    """
    n_classes = counts.shape[1]
    if n_classes < 2:
        return torch.zeros(len(counts), dtype=torch.int64)
    first = _ordered(counts).argmax(dim=1, keepdim=True)
    others = counts + (torch.arange(n_classes) < first)
    others = others.scatter(1, first, -1)
    return (counts.gather(1, first).squeeze(1) - others.max(dim=1).values) // 2


def _ordered(counts: Tensor) -> Tensor:
    """Returns the votes [n_inputs, n_classes] such that among equally many those for the first class are most."""
    return counts.double() - torch.arange(counts.shape[1]) / (2 * counts.shape[1])
