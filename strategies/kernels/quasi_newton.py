"""By how much a gradient changes along a step, from earlier steps and changes: L-BFGS in its compact form.

Source: Byrd, Nocedal and Schnabel, "Representations of Quasi-Newton Matrices and Their Use in Limited Memory Methods",
Mathematical Programming 63, 1994, theorem 2.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import SLICE


def hessian_product(
    steps: Sequence[Tensor], changes: Sequence[Tensor], step: Tensor
) -> Callable[[slice], Tensor]:
    """Returns what gives some columns of B ``step``, in float64.

    With S the steps and Y the changes as columns, sigma = y^T s / s^T s of the last pair, L what is below the diagonal
    of S^T Y and D its diagonal: B = sigma I - [sigma S, Y] M^-1 [sigma S, Y]^T with M = [[sigma S^T S, L], [L^T, -D]].
    Where M has no inverse its pseudo-inverse takes its place; where the last step is 0 so is the product.

    Args:
        steps: m of [n_params], the latest last; m >= 1.
        changes: of the gradient along each of them.
        step: [n_params].
    """
    m, vectors = len(steps), [*steps, *changes, step]
    inner = _inner_products(vectors)
    square = float(inner[m - 1, m - 1])
    sigma = float(inner[m - 1, 2 * m - 1]) / square if square else 0.0
    both = inner[:m, m : 2 * m]
    lower = both.tril(-1)
    middle = torch.cat([
        torch.cat([sigma * inner[:m, :m], lower], dim=1),
        torch.cat([lower.T, -both.diagonal().diag()], dim=1),
    ])  # fmt: skip
    scale = torch.ones(2 * m, dtype=torch.float64)
    scale[:m] = sigma
    counts = scale * (torch.linalg.pinv(middle, hermitian=True, rtol=1e-12) @ (scale * inner[: 2 * m, -1]))
    counts = torch.cat([-counts, torch.tensor([sigma], dtype=torch.float64)])
    if not square:
        counts.zero_()

    def product(part: slice) -> Tensor:
        return counts.to(step.device) @ torch.stack([vector[part].double() for vector in vectors])

    return product


def _inner_products(vectors: Sequence[Tensor]) -> Tensor:
    """Returns the inner products of all pairs, float64, read a slice of columns at a time."""
    total = torch.zeros(len(vectors), len(vectors), dtype=torch.float64)
    for start in range(0, len(vectors[0]), SLICE):
        wide = torch.stack([vector[start : start + SLICE].double() for vector in vectors])
        total += (wide @ wide.T).cpu()
    return total
