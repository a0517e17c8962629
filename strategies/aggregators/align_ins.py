"""AlignIns: drop updates that go an unusual way, by their angle with the model and by the signs of what they move most.

Source: Xu, Zhang and Hu, "Detecting Backdoor Attacks in Federated Learning via Direction Alignment Inspection", CVPR
2025 (arXiv 2503.07978), and its official code: TDA_k = cos(x_k, theta); MPSA_k, the share of the largest coordinates
of x_k whose sign is that of sum_j sign(x_j); the MZ-score |v - median| / standard deviation of each; who is below both
bounds is clipped to the median norm of these and averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.strategies.aggregators._client_scores import score_report
from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, check_range, skipped_round
from hauberk.strategies.kernels.angles import products
from hauberk.strategies.kernels.chunks import Updates, column_chunks, working
from hauberk.strategies.kernels.magnitudes import top_magnitudes
from hauberk.strategies.kernels.norms import clip_factors, median_of, row_norms, scaled_sum
from hauberk.strategies.kernels.threads import in_threads
from hauberk.strategies.requirements import required_vector

ALIKE = 1e-9  # a standard deviation up to which all are alike, as in the code


@dataclass(frozen=True, kw_only=True)
class AlignIns(Rule):
    """Averages the clipped updates whose direction is that of most.

    The code weighs clients by their claimed numbers of examples; ours counts them alike. Where nobody is believed the
    result is 0, and no client counts.

    Args:
        sparsity: the share of a client's coordinates, its largest ones, whose signs are looked at.
        lambda_s: bound of the MZ-score of the signs.
        lambda_c: bound of the MZ-score of the angle.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"parameters"})

    sparsity: float = 0.3
    lambda_s: float = 1.0
    lambda_c: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "sparsity", above=0, most=1)
        check_range(self, "lambda_s", above=0)
        check_range(self, "lambda_c", above=0)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            ValueError: if ``context`` lacks parameters as long as the rows.
        """
        self.admit(updates)
        context = context or AggregationContext()
        origin = required_vector(self, context, "parameters", updates)
        norms = row_norms(updates)
        cosine = cosines(products(updates, origin), norms * row_norms(origin[None]))
        agreement = sign_agreement(updates, self.sparsity)
        believed = (mz_scores(agreement) < self.lambda_s) & (mz_scores(cosine) < self.lambda_c)
        report = score_report("align_ins/angle", cosine.acos(), context)
        report |= score_report("align_ins/agreement", agreement, context)
        if not believed.any():
            return skipped_round(updates, state, report)
        weight = believed / believed.sum(dtype=torch.float64)
        bound = float(norms[believed].median())  # of two middle ones the lower, as in the code
        return Aggregation(scaled_sum(updates, weight * clip_factors(norms, bound)), weight, state, report)


def cosines(inner: Tensor, scale: Tensor) -> Tensor:
    """Returns ``inner`` over the products of the norms ``scale``, both [n_clients]; 0 for a norm of 0."""
    return torch.where(scale > 0, inner / scale, 0.0).clamp_(-1, 1)


def sign_agreement(updates: Updates, sparsity: float) -> Tensor:
    """Returns the share of each row's largest coordinates whose sign is that of most rows, [n_clients], float64."""
    n_clients, n_params = updates.shape
    major = torch.empty(n_params, dtype=torch.int8, device=updates.device)
    for part, rows in column_chunks(updates):
        major[part] = working(rows).sign().sum(dim=0).sign()
    k = max(1, int(sparsity * n_params))

    def share(client: int) -> float:
        row = working(updates[client])
        largest = top_magnitudes(row, k)
        return float((row[largest].sign() == major[largest]).double().mean())

    return torch.tensor(in_threads(share, range(n_clients)), dtype=torch.float64, device=updates.device)


def mz_scores(values: Tensor) -> Tensor:
    """Returns |v - median| / standard deviation for each of ``values`` [n], of float64; 0 where all are alike."""
    spread = float(values.std(correction=0))
    if not spread > ALIKE:
        return torch.zeros_like(values)
    return (values - median_of(values)).abs() / spread
