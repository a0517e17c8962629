"""Angles between client updates, or between the local models they lead to, from inner products."""

from __future__ import annotations

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import Updates, sum_of_slices
from hauberk.strategies.kernels.distances import gram_matrix, widened

_CLOSE = 1e-3  # below this share of the norms' product a squared distance has more digits than 1 - cos
_EQUAL = 1e-13  # below this share of what was subtracted nothing but rounding is left


def products(updates: Updates, vector: Tensor) -> Tensor:
    """Returns the inner product of each row with ``vector`` [n_params], shape [n_clients], in float64."""

    def along(place: slice, rows: Updates) -> Tensor:
        total = torch.zeros(len(rows), dtype=torch.float64, device=rows.device)
        for part, wide in widened(rows):
            total.addmv_(wide, vector[place][part].double())
        return total

    return sum_of_slices(updates, along)


def cosine_distances(updates: Updates, origin: Tensor | None = None, gram: Tensor | None = None) -> Tensor:
    """Returns 1 - cos between every two rows, or between ``origin`` plus each, in float64.

    The local models of a round, ``origin`` the parameters they started from, are nearly parallel: 1 - cos
    may be 1e-9. They are never made; the result keeps its digits.

    Args:
        updates: shape [n_clients, n_params].
        origin: shape [n_params].
        gram: the rows' inner products, where they are known already.
    """
    gram = gram_matrix(updates) if gram is None else gram
    if origin is None:
        return distances_of_products(gram)
    square = float(products(origin[None], origin))
    return distances_of_products(gram, products(updates, origin), square)


def distances_of_products(gram: Tensor, with_origin: Tensor | None = None, square: float = 0.0) -> Tensor:
    """Returns 1 - cos between o + x_i and o + x_j, shape [n_clients, n_clients], 0 on the diagonal.

    Where the two are close it is (||x_i - x_j||^2 - (a_i - a_j)^2) / (2 a_i a_j) with their norms a.
    A row of zeros is at right angles to every other.

    Args:
        gram: inner products of the rows x, shape [n_clients, n_clients].
        with_origin: inner product of each x with o, shape [n_clients]; without it o is 0.
        square: ||o||^2.
    """
    own = gram.diagonal()
    with_origin = torch.zeros_like(own) if with_origin is None else with_origin
    norms = (square + 2 * with_origin + own).clamp_(min=0).sqrt_()
    scale = norms[:, None] * norms
    inner = square + with_origin[:, None] + with_origin + gram
    far = 1 - torch.where(scale > 0, inner / scale, 0.0)

    squares, total = own[:, None] + own, norms[:, None] + norms
    apart = squares - 2 * gram
    rise = (2 * (with_origin[:, None] - with_origin) + own[:, None] - own) / total
    close = apart - rise.square()
    # What is left of it when two rows point one way is rounding, different from call to call.
    far = torch.where(far > _EQUAL, far, 0.0)
    close = torch.where(close > _EQUAL * squares, close, 0.0)
    distances = torch.where((scale > 0) & (apart < _CLOSE * scale), close / (2 * scale), far)
    return distances.clamp_(0, 2).fill_diagonal_(0)
