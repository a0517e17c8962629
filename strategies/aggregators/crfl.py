"""CRFL: after the mean, clip the whole model and blur it, so that a certificate can be given for it.

Source: Xie, Chen, Chen and Li, "CRFL: Certifiably Robust Federated Learning against Backdoor Attacks", ICML
2021 (arXiv 2106.08283), and its official code: theta <- theta min(1, rho / ||theta||), then + N(0, sigma^2).
The smoothed prediction and the certificate belong to evaluation, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_range
from hauberk.strategies.kernels.chunks import SLICE, Updates, weighted_sum
from hauberk.strategies.kernels.noise import add_gaussian
from hauberk.strategies.requirements import required_vector


@dataclass(frozen=True, kw_only=True)
class CRFL(Rule):
    """Averages the updates, then clips the global parameters themselves and adds noise to each of them.

    The update it returns leads to the clipped, noisy parameters.

    Args:
        clip: rho over the norm of the parameters before the first round. The code has absolute schedules by
            data set (such as 0.1 t + 2 up to 15); a pretrained transformer's norm is in the hundreds, so ours
            is relative, and 1.2 leaves room for training.
        noise: sigma; the code's 0.01 destroys a transformer, hence ours of 1e-4.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"parameters"})

    clip: float = 1.2
    noise: float = 1e-4

    def __post_init__(self) -> None:
        check_range(self, "clip", above=0)
        check_range(self, "noise", least=0)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params].

        ``state`` is {"initial_norm": the norm of the first parameters; of those after the first round, where
        a model starts from zero}.

        Raises:
            ValueError: if ``context`` lacks parameters as long as the rows.
        """
        self.admit(updates)
        context = context or AggregationContext()
        parameters = required_vector(self, context, "parameters", updates)
        weight = torch.full((len(updates),), 1 / len(updates), dtype=torch.float64)
        update = weighted_sum(updates, weight)
        norm = norm_of_sum(parameters, update)
        initial = (state or {}).get("initial_norm") or norm_of_sum(parameters, None) or norm
        scale = min(1.0, self.clip * initial / norm) if norm else 1.0
        if scale < 1:
            clip_sum(parameters, update, scale)
        add_gaussian(update, self.noise, context.rng)
        report = {"crfl/norm": norm, "crfl/scale": scale}
        return Aggregation(update, weight, {"initial_norm": initial}, report)


def norm_of_sum(parameters: Tensor, update: Tensor | None) -> float:
    """Returns ||parameters + update||, both of shape [n_params], with float64 accumulation."""
    square = 0.0
    for place in _slices(parameters):
        wide = parameters[place].double()
        if update is not None:
            wide = wide + update[place]
        square += float(wide @ wide)
    return square**0.5


def clip_sum(parameters: Tensor, update: Tensor, scale: float) -> None:
    """Turns ``update`` in place into what leads to scale * (parameters + update), all of shape [n_params]."""
    for place in _slices(parameters):
        wide = parameters[place].double()
        update[place] = (scale * (wide + update[place]) - wide).to(update.dtype)


def _slices(vector: Tensor) -> list[slice]:
    return [slice(start, start + SLICE) for start in range(0, len(vector), SLICE)]
