"""Dim-Krum's five ways to choose the dimensions in which two updates are compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import Updates, narrow
from hauberk.strategies.kernels.distances import squared_distances
from hauberk.strategies.kernels.krum_scores import krum_scores
from hauberk.strategies.kernels.pairwise_topk import strongest_squares
from hauberk.strategies.kernels.robust_scale import robust_sigma, strongest_columns
from hauberk.strategies.layout import Layout

SELECTIONS = ("pairwise", "global", "z", "per_tensor", "full")


def dimension_distances(
    updates: Updates, ratio: float, selection: str = "pairwise", layout: Layout | None = None
) -> Tensor:
    """Returns what Dim-Krum takes for the squared distance of each pair, [n_clients, n_clients] in float64.

    With k = max(1, floor(ratio * n_params)), sigma_i = 1.4826 MAD_i + floor (see ``spread``) and x_p - x_q
    the difference of a pair:

    * "pairwise": the sum of its k largest squares, anew for each pair;
    * "global": the sum of its squares over the one set of the k columns i with the largest
      max_p |x_pi - median_i| / sigma_i, the same for all pairs; not scaled;
    * "z": the sum of the k largest squares of (x_p - x_q) / sigma, anew for each pair;
    * "per_tensor": as "pairwise" in each tensor of ``layout`` with its own k, and the sum over the tensors;
    * "full": the sum of all squares of (x_p - x_q) / sigma; ``ratio`` has no effect.

    Args:
        updates: shape [n_clients, n_params].
        ratio: the share of dimensions that count, 0 < ratio <= 1.
        selection: one of SELECTIONS.
        layout: where each tensor lies; "per_tensor" cannot do without, "global", "z" and "full" take their
            floors by tensor where it is given.
    """
    k = max(1, int(ratio * updates.shape[1]))
    if selection == "per_tensor":
        assert layout is not None
        return sum(
            (_largest(narrow(updates, slot.slice), ratio) for slot in layout if slot.stop > slot.start),
            torch.zeros(len(updates), len(updates), dtype=torch.float64, device=updates.device),
        )
    if selection == "global":
        chosen: Any = (
            updates if k >= updates.shape[1] else Picked(updates, strongest_columns(updates, k, layout))
        )
        return squared_distances(chosen)
    if selection == "z" and k < updates.shape[1]:
        return strongest_squares(updates, k, robust_sigma(updates, layout).reciprocal_())
    if selection in ("z", "full"):
        scaled: Any = Scaled(updates, robust_sigma(updates, layout).reciprocal_())
        return squared_distances(scaled)
    return _largest(updates, ratio)


def selection_scores(
    updates: Updates,
    n_malicious: int,
    *,
    ratio: float = 1e-3,
    layout: Layout | None = None,
    selections: Iterable[str] = SELECTIONS,
) -> dict[str, Tensor]:
    """Returns the Krum scores of one matrix under several selections, each of shape [n_clients].

    Args:
        updates: shape [n_clients, n_params].
        n_malicious: f; a score sums the distances to the n - f - 2 nearest.
        ratio: the share of dimensions that count.
        layout: where each tensor lies.
        selections: which; those of SELECTIONS.

    Raises:
        ValueError: if "per_tensor" is asked for without a layout.
    """
    scores = {}
    for selection in selections:
        if selection == "per_tensor" and layout is None:
            raise ValueError("The selection 'per_tensor' needs a layout, got none.")
        distances = dimension_distances(updates, ratio, selection, layout)
        scores[selection] = krum_scores(distances, n_malicious)
    return scores


def selection_ranks(
    updates: Updates,
    n_malicious: int,
    *,
    ratio: float = 1e-3,
    layout: Layout | None = None,
    selections: Iterable[str] = SELECTIONS,
) -> dict[str, Tensor]:
    """Returns each client's rank under several selections, from 0, the most trusted, to n_clients - 1.

    The arguments are those of ``selection_scores``; each tensor has shape [n_clients]; ties go by row.
    """
    scores = selection_scores(updates, n_malicious, ratio=ratio, layout=layout, selections=selections)
    return {name: score.argsort(stable=True).argsort() for name, score in scores.items()}


class Scaled:
    """Rows times one factor for each column, in float64, made a slice at a time as ``Mixture`` makes its own."""

    def __init__(self, updates: Updates, factors: Tensor) -> None:
        self._updates = updates
        self._factors = factors
        self.shape = updates.shape
        self.dtype = torch.float64
        self.device = updates.device

    def __len__(self) -> int:
        return len(self._updates)

    def __getitem__(self, key: tuple[slice, slice]) -> Tensor:
        """Returns some columns of all rows."""
        return self._updates[key].double() * self._factors[key[1]]


class Picked:
    """Some columns of the rows, gathered a slice at a time: nearly all of them would be a second matrix."""

    def __init__(self, updates: Updates, places: Tensor) -> None:
        self._updates = updates
        self._places = places
        self.shape = torch.Size((len(updates), len(places)))
        self.dtype = updates.dtype
        self.device = updates.device

    def __len__(self) -> int:
        return len(self._updates)

    def __getitem__(self, key: tuple[slice, slice]) -> Tensor:
        """Returns some of the picked columns of all rows."""
        return self._updates[:, self._places[key[1]]]


def _largest(updates: Updates, ratio: float) -> Tensor:
    n_params = updates.shape[1]
    k = max(1, int(ratio * n_params))
    return squared_distances(updates) if k >= n_params else strongest_squares(updates, k)
