"""Divide-and-Conquer: drop who stands out most along the direction in which the updates vary most.

Source: Shejwalkar and Houmansadr, "Manipulating the Byzantine: Optimizing Model Poisoning Attacks and Defenses
for Federated Learning", NDSS 2021. Several times: on a random subset of the coordinates, centred, with v the
top right singular vector, score_k = <x_k - mean, v>^2; the n - c f smallest stay. Then the mean of those who
stayed every time.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.strategies.aggregators._client_scores import score_report
from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Rule,
    State,
    TooFewClientsError,
    check_integer,
    check_majority,
    check_range,
)
from hauberk.strategies.kernels.chunks import Updates, weighted_sum


@dataclass(frozen=True, kw_only=True)
class DnC(Rule):
    """Averages the updates that no random subset of the coordinates shows to be an outlier.

    If each of them stood out once, the one with the lowest mean score counts alone (ours: the paper does not
    say). A huge row takes the whole direction for itself: it is dropped, but with it any f - 1 others; put
    ``clip`` before the rule where that matters.

    Args:
        n_malicious: f, the number of malicious clients to withstand; 2f < n_clients.
        n_iterations: how many random subsets; a client must pass all of them.
        n_sampled: b, how many coordinates each has; the paper's "up to 10,000".
        filter_factor: c; int(n - c f) updates pass each time, as in the code of peers.
    """

    n_malicious: int
    n_iterations: int = 5
    n_sampled: int = 10_000
    filter_factor: float = 1.0

    def __post_init__(self) -> None:
        check_integer(self, "n_malicious", least=0)
        check_integer(self, "n_iterations", least=1)
        check_integer(self, "n_sampled", least=1)
        check_range(self, "filter_factor", above=0)

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless 2f < n_clients, and at least one update passes."""
        check_majority(self, self.n_malicious, n_clients)
        if self._n_kept(n_clients) < 1:
            raise TooFewClientsError(
                f"DnC needs filter_factor * f <= n_clients - 1, got filter_factor={self.filter_factor:g},"
                f" f={self.n_malicious} and n_clients={n_clients}."
            )

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            TooFewClientsError: if there are too few clients for ``n_malicious``.
        """
        self.admit(updates)
        context = context or AggregationContext()
        by_id = context.by_id(len(updates))
        passed = torch.ones(len(updates), dtype=torch.bool)
        mean_scores = torch.zeros(len(updates), dtype=torch.float64)
        for _ in range(self.n_iterations):
            places = sample(updates.shape[1], self.n_sampled, context.rng)
            scores = outlier_scores(updates[:, places])
            mean_scores += scores / self.n_iterations
            dropped = by_id[_nine_digits(scores)[by_id].argsort(stable=True)[self._n_kept(len(updates)) :]]
            passed[dropped] = False
        if not passed.any():
            passed[by_id[_nine_digits(mean_scores)[by_id].argmin()]] = True
        weight = passed / passed.sum(dtype=torch.float64)
        report = score_report("dnc", mean_scores, context)
        return Aggregation(weighted_sum(updates, weight), weight, state, report)

    def _n_kept(self, n_clients: int) -> int:
        return int(n_clients - self.filter_factor * self.n_malicious)


def _nine_digits(scores: Tensor) -> Tensor:
    """Returns the scores in nine digits: those that differ by rounding alone tie."""
    mantissa, exponent = torch.frexp(scores)
    return torch.ldexp((mantissa * 2**30).round(), exponent)


def outlier_scores(rows: Tensor) -> Tensor:
    """Returns <x_k - mean, v>^2 for each of ``rows`` [n_clients, n_sampled], shape [n_clients], in float64.

    From the inner products of the rows: if u is the top eigenvector of those of the centred rows, and s its
    eigenvalue, the scores are s u_k^2.
    """
    wide = rows.double()
    largest = float(wide.abs().amax()) or 1.0
    wide = wide / largest
    wide -= wide.mean(dim=0)
    values, vectors = torch.linalg.eigh(wide @ wide.T)
    return (values[-1].clamp(min=0) * vectors[:, -1].square()) * largest**2


def sample(n_params: int, n_sampled: int, rng: torch.Generator) -> Tensor:
    """Returns min(n_sampled, n_params) different columns, ascending, each subset as likely as any other."""
    if 2 * n_sampled >= n_params:
        return torch.randperm(n_params, generator=rng, device=rng.device)[:n_sampled].sort().values.cpu()
    # A permutation of all columns of a language model would be as large as two rows.
    found = torch.empty(0, dtype=torch.int64)
    while len(found) < n_sampled:
        more = torch.randint(n_params, (n_sampled - len(found),), generator=rng, device=rng.device).cpu()
        found = torch.cat([found, more]).unique()
    return found
