"""FLCert: groups of clients train a model each, and the models vote; a certificate comes with every answer.

Source: Cao, Zhang, Jia and Gong, "FLCert: Provably Secure Federated Learning Against Poisoning Attacks", IEEE
Transactions on Information Forensics and Security 17, 2022 (arXiv 2210.00584): FLCert-P, whose groups are disjoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from hauberk.strategies.aggregators._votes import Votes, unpacked
from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Rule,
    State,
    check_integer,
)
from hauberk.strategies.kernels.chunks import Updates, finite, weighted_sum
from hauberk.strategies.mapped import VECTOR
from hauberk.strategies.serving import Answer


@dataclass(frozen=True, kw_only=True)
class FLCert(Rule):
    """Averages the updates of each group of clients by themselves; the groups' models vote on every answer.

    Client k is in group k mod n_groups, where the paper hashes its id: groups are as even as they can be. The groups
    never hear of each other, so a client moves one vote and no more, whatever it sends; in a deployment whose rounds
    close with `min_replies` it may also decide, by when it answers, whether others are still heard. A group of which
    nobody has ever answered has no vote. The global parameters are the mean of the groups' models, which nobody starts
    from and nothing is answered with.

    Args:
        n_groups: N; more groups withstand more liars, and each model learns from fewer examples. The default is for
            some ten clients.
    """

    remembers_clients: ClassVar[bool] = True
    least_clean: ClassVar[int] = 0

    n_groups: int = 3

    def __post_init__(self) -> None:
        check_integer(self, "n_groups", least=1)

    def start(self, client_id: int, parameters: Tensor, state: State | None) -> Tensor:
        """Returns the model of the client's group; see `hauberk.strategies.starting.Starts`."""
        return state[f"{VECTOR}{client_id % self.n_groups}"] if state else parameters

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params], each what its client added to its group's model.

        ``state`` is {"client_ids": all that were ever seen, "vector/0": the first group's model, [n_params], ...}. A
        group of which nobody answers stays as it is. Before the first round all groups start from the context's
        parameters, or from zeros.

        Raises:
            TooFewClientsError: if there are none.
            ValueError: if the state is of another layout.
        """
        self.admit(updates)
        context = context or AggregationContext()
        ids = context.ids(len(updates))
        models, weight = self._models(updates, context, state), torch.zeros(len(updates), dtype=torch.float64)
        update = torch.zeros(updates.shape[1], dtype=updates.dtype, device=updates.device)
        for group, model in enumerate(models):
            mine = torch.tensor(
                [client_id % self.n_groups == group for client_id in ids], dtype=torch.float64
            )
            if mine.any():
                change = weighted_sum(updates, mine / mine.sum())
                models[group] = finite(model + change)
                update += change / self.n_groups
                weight += mine / mine.sum()
        seen = sorted({*(state or {}).get("client_ids", ()), *ids})
        new = {"client_ids": seen, **{f"{VECTOR}{group}": model for group, model in enumerate(models)}}
        return Aggregation(update, weight / weight.sum(), new, {"flcert/groups": float(self.n_groups)})

    def serving(self, parameters: Tensor, state: State | None, clean: Answer | None) -> Votes:
        """Returns the vote of the groups' models; see `hauberk.strategies.serving.Serves`."""
        if not state:
            raise ValueError(
                "FLCert serves the models of its groups, and there are none before the first round."
            )
        members = {
            group: tuple(one for one in state["client_ids"] if one % self.n_groups == group)
            for group in range(self.n_groups)
        }
        groups = [group for group, ids in members.items() if ids]
        return Votes(
            clients=tuple(members[group] for group in groups),
            models=tuple(state[f"{VECTOR}{group}"] for group in groups),
        )

    def passes(self, n_clients: int) -> int:
        """Returns the number of groups."""
        return self.n_groups

    def restored(self, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Votes:
        """Returns what answers, of what it was packed into."""
        return unpacked(tensors, about)

    def _models(self, updates: Updates, context: AggregationContext, state: State | None) -> list[Tensor]:
        """Returns what each group starts from."""
        if state:
            models = [state[f"{VECTOR}{group}"].to(updates.device) for group in range(self.n_groups)]
        else:
            start = context.parameters
            start = torch.zeros_like(updates[0]) if start is None else start.to(updates.device)
            models = [start] * self.n_groups
        if len(models[0]) != updates.shape[1]:
            raise ValueError(
                f"FLCert remembers models of {len(models[0])} parameters, and the updates have {updates.shape[1]}: "
                "they are of another layout."
            )
        return models
