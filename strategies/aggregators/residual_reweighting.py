"""Residual-based reweighting: a robust line through each parameter's sorted values, and trust by distance to it.

Source: Fu, Xie, Li and Chen, "Attack-Resistant Federated Learning with Residual-based Reweighting", 2019 (arXiv
1912.11464; ResidualBase in Dim-Krum's comparison), steps and constants as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Rule,
    State,
    TooFewClientsError,
    check_range,
)
from hauberk.strategies.kernels.chunks import Updates, choose, column_chunks, working
from hauberk.strategies.kernels.repeated_median import Medians, RepeatedMedian, ranks
from hauberk.strategies.kernels.sorting_networks import OrderStatistics

_SLICE = 1 << 15  # columns, or 1 / 256 of them all where that is less: some ten such slices are held
_LEAST = 1 << 12
_HUGE = 1e34  # beyond, slopes and lines are calculated in float64: they may not be finite in float32


@dataclass(frozen=True, kw_only=True)
class ResidualReweighting(Rule):
    """Weighs each client by how near its values lie to a robust line, summed over all parameters.

    For each parameter with the value y_k of client k and its rank x_k, from 0:

    1. the repeated-median line b0 + b1 x, with b0 = med(y) - b1 (n - 1) / 2, and residuals r_k;
    2. tau = 1.4826 (1 + 5 / (n - 1)) med(|r| without its smallest) + 1e-7 and e_k = r_k / tau;
    3. w_k = min(1, K sqrt(1 - h_k) / |e_k|), with K = lam sqrt(2 / n) and the leverage h_k of rank x_k;
    4. where w_k < delta, y_k is replaced by the line;
    5. the client's confidence grows by w_k times the standard deviation of w over the clients.

    The update is the mean of the values weighted by the square of the confidence. The 1e-7 is absolute: updates
    of that size are all trusted alike. Equal values take their ranks in the order of the client ids.

    Args:
        lam: lambda; the larger, the farther from the line a value still counts in full.
        delta: below this weight a value is replaced by the line's.
        convention: "paper", whose medians are the mean of the two middle values, as in the authors'
            averaging.py; or "official", the lower one, as torch.median has it and some copies use.
    """

    lam: float = 2.0
    delta: float = 0.1
    convention: Literal["paper", "official"] = "paper"

    def __post_init__(self) -> None:
        check_range(self, "lam", above=0)
        check_range(self, "delta", least=0, most=1)
        if self.convention not in ("paper", "official"):
            raise ValueError(
                f"ResidualReweighting.convention must be 'paper' or 'official', got {self.convention!r}."
            )

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless n_clients >= 3: a line through two points leaves no residual."""
        if n_clients < 3:
            raise TooFewClientsError(f"ResidualReweighting needs n_clients >= 3, got n_clients={n_clients}.")

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is passed through.

        Raises:
            TooFewClientsError: if there are fewer than three clients.
        """
        self.admit(updates)
        n_clients = len(updates)
        by_id = (context or AggregationContext()).by_id(n_clients).to(updates.device)
        update = torch.empty(updates.shape[1], dtype=updates.dtype, device=updates.device)
        # The slopes, most of the work, wait for the second pass where the update will be.
        slopes = working(update)
        fits = _LineFitsByType(self, slopes)
        confidence = torch.zeros(n_clients, dtype=torch.float64, device=updates.device)
        for place, rows, fit in fits.slices(updates, by_id):
            slope = fit.slope(rows)
            if slope.dtype == slopes.dtype:
                slopes[place] = slope
            weight, _ = fit.weigh(rows, slope)
            spread = weight - weight.mean(dim=0)
            spread = (spread.square_().sum(dim=0) / (n_clients - 1)).sqrt_()
            confidence += weight.mul_(spread).sum(dim=1).double()
        shares = _shares(confidence)
        for place, rows, fit in fits.slices(updates, by_id):
            slope = slopes[place] if rows.dtype == slopes.dtype else fit.slope(rows)
            weight, line = fit.weigh(rows, slope)
            kept = choose(weight < self.delta, line, rows)
            update[place] = (shares.to(kept) @ kept).to(update.dtype)
        return Aggregation(update, torch.empty_like(shares).index_copy_(0, by_id, shares), state)


def _shares(confidence: Tensor) -> Tensor:
    """Returns the squares of ``confidence`` over their sum; equal shares where nobody ever stood out."""
    if confidence.max() == 0:
        return torch.full_like(confidence, 1 / len(confidence))
    squares = (confidence / confidence.max()).square_()
    return squares / squares.sum()


class _LineFit:
    """Lines and weights for slices of one type, in buffers that are allocated once."""

    def __init__(self, rule: ResidualReweighting, n_clients: int, like: Tensor, width: int) -> None:
        lower = rule.convention == "official"
        place = torch.arange(n_clients, dtype=like.dtype, device=like.device)
        pool = like.new_empty((n_clients + 1, width))
        self._sort = OrderStatistics(n_clients, range(n_clients), like, width, buffers=pool)
        self._slope = RepeatedMedian(n_clients, like, width, lower=lower, buffers=pool)
        self._median = Medians(n_clients, like, width, lower=lower, buffers=pool)
        self._scale = Medians(n_clients, like, width, lower=lower, skip=1, buffers=pool)
        self._middle = (n_clients - 1) / 2
        self._leverage = float((place - self._middle).square().sum())
        self._n_clients = n_clients
        self._bound = rule.lam * (2 / n_clients) ** 0.5

    def slope(self, rows: Tensor) -> Tensor:
        """Returns b1 for each column of ``rows`` [n_clients, width], shape [width]."""
        return self._slope(torch.stack(self._sort(rows)))

    def weigh(self, rows: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the weight w and the line's value for each of ``rows``, both [n_clients, width]."""
        from_middle = ranks(rows).to(rows.dtype).sub_(self._middle)
        line = torch.addcmul(self._median(rows), from_middle, slope)
        residual = (rows - line).abs_()
        tau = self._scale(residual).mul_(1.4826 * (1 + 5 / (self._n_clients - 1))).add_(1e-7)
        # sqrt(1 - h), with h = 1 / n + (x - mean)^2 / sum (x - mean)^2
        left = from_middle.square_().mul_(-1 / self._leverage).add_(1 - 1 / self._n_clients).sqrt_()
        return left.mul_(tau).mul_(self._bound).div_(residual).clamp_(max=1), line


class _LineFitsByType:
    """The fit for each type that slices are calculated in."""

    def __init__(self, rule: ResidualReweighting, like: Tensor) -> None:
        self._rule = rule
        self._like = like
        self._by_type: dict[torch.dtype, _LineFit] = {}

    def slices(self, updates: Updates, by_id: Tensor) -> Iterator[tuple[slice, Tensor, _LineFit]]:
        """Yields (columns, part, fit) with the rows of each part in the order ``by_id``."""
        width = min(_SLICE, max(_LEAST, updates.shape[1] // 256), updates.shape[1])
        in_order = torch.equal(by_id, torch.arange(len(by_id), device=by_id.device))
        for place, part in column_chunks(updates, width):
            rows = working(part) if in_order else working(part)[by_id]
            least, most = rows.aminmax()
            if max(-least, most) > _HUGE:
                rows = rows.double()
            if rows.dtype not in self._by_type:
                like = self._like[:0].to(rows.dtype)
                self._by_type[rows.dtype] = _LineFit(self._rule, len(rows), like, width)
            yield place, rows, self._by_type[rows.dtype]
