"""What a rule measures of its rows and hands on, so that nobody in the same round measures it again."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hauberk.strategies.kernels.chunks import Updates
from hauberk.strategies.kernels.distances import gram_matrix, squared_distances


@dataclass(frozen=True, kw_only=True, eq=False)
class Geometry:
    """What is known of how some rows lie to each other; None is not known. Who is handed it writes to none of it.

    Attributes:
        gram: the rows' inner products, as ``gram_matrix`` has them, [n_clients, n_clients] in float64.
        squared_distances: as the function of this name has them, [n_clients, n_clients] in float64.
        strongest_squares: for each pair the sum of its largest squared differences, as Dim-Krum's selection
            "pairwise" has it, [n_clients, n_clients] in float64.
        ratio: the share of the dimensions that these sums are over.
    """

    gram: Tensor | None = None
    squared_distances: Tensor | None = None
    strongest_squares: Tensor | None = None
    ratio: float | None = None


def measured_distances(updates: Updates) -> tuple[Tensor, Geometry]:
    """Returns the squared distances of the rows, [n_clients, n_clients] in float64, and what to hand on of them."""
    gram = gram_matrix(updates)
    distances = squared_distances(updates, gram)
    return distances, Geometry(gram=gram, squared_distances=distances)
