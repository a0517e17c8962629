"""ARC, adaptive robust clipping: cut the longest updates to the longest of the others, before any rule.

Source: Allouah, Guerraoui, Gupta, Jellouli, Rizk and Stephan, "Adaptive Gradient Clipping for Robust Federated
Learning", ICLR 2025 (arXiv 2405.14432): the k = floor(2 (f / n) (n - f)) largest norms are cut to the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hauberk.strategies.base import AggregationContext, check_integer, check_majority
from hauberk.strategies.chain import PreAggregator
from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.norms import clip_factors, row_norms


@dataclass(frozen=True, kw_only=True)
class ARC(PreAggregator):
    """Cuts the floor(2 (f / n) (n - f)) longest of n updates to the norm of the next longest.

    Args:
        n_malicious: f, the number of malicious clients to withstand; 2f < n_clients.
    """

    n_malicious: int

    def __post_init__(self) -> None:
        check_integer(self, "n_malicious", least=0)

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError unless 2f < n_clients."""
        check_majority(self, self.n_malicious, n_clients)

    def mixing(self, updates: Updates, context: AggregationContext) -> Tensor:
        """Returns a diagonal matrix, shape [n_clients, n_clients]: how much of each update stays."""
        n_clients = len(updates)
        n_cut = 2 * self.n_malicious * (n_clients - self.n_malicious) // n_clients
        norms = row_norms(updates)
        bound = norms.sort(descending=True).values[n_cut]
        return clip_factors(norms, float(bound)).diag()
