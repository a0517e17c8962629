"""SparseFed: only the few coordinates on which many rounds agree ever reach the model.

Source: Panda et al., "SparseFed: Mitigating Model Poisoning Attacks in Federated Learning with
Sparsification", AISTATS 2022 (arXiv 2112.06274), and the mode "true_topk" of the author's code: with g the mean
of the clipped updates, V <- rho V + g; E <- E + V; U = the k largest |E|; E[U] = 0; V[U] = 0; A = E on U.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_range
from hauberk.strategies.kernels.chunks import Updates, finite, working
from hauberk.strategies.kernels.distances import over_widened
from hauberk.strategies.kernels.magnitudes import top_magnitudes
from hauberk.strategies.kernels.norms import clip_factors, row_norms


@dataclass(frozen=True, kw_only=True)
class SparseFed(Rule):
    """Sends on the k = max(1, floor(ratio * n_params)) largest accumulated coordinates; keeps the others.

    Args:
        clip: the bound L on the norm of each update. In the paper the clients clip themselves, so that the
            default None trusts them with it; a liar need not, and one long row then owns the result: set it,
            or put ``clip`` (from PRE_AGGREGATORS) before the rule.
        ratio: k over n_params; the paper's range is about 1e-3 to 1e-2.
        momentum: rho; the paper's range is 0 to 0.9.
    """

    clip: float | None = None
    ratio: float = 1e-2
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if self.clip is not None:
            check_range(self, "clip", above=0)
        check_range(self, "ratio", above=0, most=1)
        check_range(self, "momentum", least=0, below=1)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params].

        ``state`` is {"momentum": V, "error": E}, both of shape [n_params].

        Raises:
            ValueError: if the state is not as long as the rows.
        """
        self.admit(updates)
        n_clients, n_params = updates.shape
        momentum = working(updates[:, :0]).new_zeros(n_params)
        error = torch.zeros_like(momentum)
        if state:
            if len(state["momentum"]) != n_params:
                raise ValueError(
                    f"SparseFed has a state of {len(state['momentum'])} parameters, the rows have {n_params}."
                )
            torch.mul(state["momentum"], self.momentum, out=momentum)
            error.copy_(state["error"])
        weight = torch.full((n_clients,), 1 / n_clients, dtype=torch.float64)
        scale = weight * clip_factors(row_norms(updates), self.clip) if self.clip else weight

        def add(place: slice, wide: Tensor) -> None:
            momentum[place] = finite((momentum[place] + scale @ wide).to(momentum.dtype))
            finite(error[place].add_(momentum[place]))

        over_widened(updates, add)
        sent = top_magnitudes(error, max(1, int(self.ratio * n_params)))
        update = torch.zeros(n_params, dtype=updates.dtype, device=updates.device)
        update[sent] = finite(error[sent].to(update.dtype))
        error[sent] = 0
        momentum[sent] = 0
        report = {"sparse_fed/kept_back": float(torch.linalg.vector_norm(error, dtype=torch.float64))}
        return Aggregation(update, weight, {"momentum": momentum, "error": error}, report)
