"""A rule in a package of its own: the middle of each coordinate's range without its extremes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hauberk.strategies import Aggregation, AggregationContext, Rule, State, TooFewClientsError


@dataclass(frozen=True, kw_only=True)
class TrimmedRange(Rule):
    """Drops the ``n_malicious`` smallest and largest values of each coordinate and halves what is left of the range.

    Args:
        n_malicious: f, the number of malicious clients to withstand; 2f < n_clients.
    """

    n_malicious: int = 1

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless 2f < n_clients."""
        if not 2 * self.n_malicious < n_clients:
            raise TooFewClientsError(
                f"TrimmedRange needs 2f < n_clients, got f={self.n_malicious} and n_clients={n_clients}."
            )

    def __call__(
        self, updates: Tensor, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]."""
        self.check(len(updates))
        ordered = updates.sort(dim=0).values
        low, high = ordered[self.n_malicious], ordered[-1 - self.n_malicious]
        return Aggregation((low + high) / 2, None, state)
