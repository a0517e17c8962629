"""What peers mean by "Krum": how many neighbours count, and which distance, as their sources have it.

On random rows each picks another client than the paper's rule in 10 to 15 % of cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import Updates, narrow
from hauberk.strategies.kernels.distances import squared_distances
from hauberk.strategies.kernels.geometry import Geometry, measured_distances
from hauberk.strategies.layout import Layout

KrumConvention = Literal["paper", "byzfl", "flpoison", "epfml", "federated_scope"]


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One meaning of Krum.

    Attributes:
        left_out: n - f minus the number of neighbours that count.
        power: of the Euclidean distance; 2 is squared.
        by_tensor: whether a distance is the sum of the distances of each tensor.
        summed: whether Multi-Krum returns the sum of the selected updates instead of their mean.
    """

    left_out: int
    power: float
    by_tensor: bool = False
    summed: bool = False

    def distances(self, updates: Updates, layout: Layout | None = None) -> tuple[Tensor, Geometry]:
        """Returns what a score sums, for each pair of rows, [n_clients, n_clients] in float64, and its source."""
        if not self.by_tensor:
            squared, geometry = measured_distances(updates)
            return squared.pow(self.power / 2), geometry
        assert layout is not None
        total = torch.zeros(len(updates), len(updates), dtype=torch.float64, device=updates.device)
        for slot in layout:
            total += squared_distances(narrow(updates, slot.slice)).pow_(self.power / 2)
        return total, Geometry()


# One line for each peer. ByzFL's is read in its aggregators.py, FLPoison's in krum.py, that of epfml's
# byzantine-robust-noniid-optimizer (which squares squared distances) and FederatedScope's likewise.
CONVENTIONS = {
    "paper": Convention(left_out=2, power=2),
    "byzfl": Convention(left_out=1, power=2),
    "flpoison": Convention(left_out=1, power=1),
    "epfml": Convention(left_out=2, power=4, summed=True),
    "federated_scope": Convention(left_out=2, power=1, by_tensor=True),
}


def convention_named(rule: object, name: str) -> Convention:
    """Returns the convention ``name``; raises ValueError, naming ``rule``, if there is none."""
    if name not in CONVENTIONS:
        known = ", ".join(map(repr, CONVENTIONS))
        raise ValueError(f"{type(rule).__name__}.convention must be one of {known}, got {name!r}.")
    return CONVENTIONS[name]


def layout_for(rule: object, layout: Layout | None, n_params: int) -> Layout:
    """Returns ``layout``; raises ValueError, naming ``rule``, unless it has ``n_params`` columns."""
    n_placed = None if layout is None else layout.n_params
    if layout is None or n_placed != n_params:
        raise ValueError(
            f"{type(rule).__name__} with convention='federated_scope' needs a context with the layout of"
            f" its {n_params} columns, got {'none' if layout is None else f'one of {n_placed}'}."
        )
    return layout
