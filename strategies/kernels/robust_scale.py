"""The robust spread of every coordinate over the clients: median and MAD, with a floor where nobody differs.

Where most clients leave a weight alone, as the rows of a word table whose words they never see, its MAD is 0 and
any one honest client that touches it would look infinitely strange.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hauberk.strategies.kernels.chunks import SLICE, Updates, working
from hauberk.strategies.kernels.magnitudes import median_magnitude, top_magnitudes
from hauberk.strategies.kernels.sorting_networks import OrderStatistics
from hauberk.strategies.kernels.threads import over_slices
from hauberk.strategies.layout import Layout

_GAUSSIAN = 1.4826  # the standard deviation of a Gaussian over its MAD
_FLOOR = 1e-3  # of the median MAD


def robust_sigma(updates: Updates, layout: Layout | None = None) -> Tensor:
    """Returns 1.4826 MAD_i + floor of each coordinate, shape [n_params], in the precision to calculate in.

    The floor is 1e-3 times the median of the MADs of the tensor that the coordinate belongs to. Where that
    median is 0 itself, as in a large word table, it is of those that are not 0; where all are, of the whole
    row's that are not; and 1 where there are none.

    Args:
        updates: shape [n_clients, n_params].
        layout: where each tensor lies; without it a row is one tensor.
    """
    return _with_floor(_deviations(updates, None), layout)


def strongest_columns(updates: Updates, k: int, layout: Layout | None = None) -> Tensor:
    """Returns the ``k`` columns of the largest max_k |x_ki - median_i| / robust_sigma_i, ascending, shape [k]."""
    peaks = torch.empty(updates.shape[1], dtype=_dtype(updates), device=updates.device)
    sigma = _with_floor(_deviations(updates, peaks), layout)
    return top_magnitudes(peaks.div_(sigma), k)


def floors(spreads: Tensor, layout: Layout | None, share: float = _FLOOR) -> list[tuple[slice, float]]:
    """Returns the columns of each tensor and ``share`` of its median spread, for ``spreads`` >= 0 [n_params].

    A tensor whose median is 0 takes that of its positive spreads, else of all positive ones, else 1.
    """
    places = [slice(0, len(spreads))] if layout is None else [slot.slice for slot in layout]
    found: list[tuple[slice, float]] = []
    everywhere: float | None = None
    for place in places:
        own = spreads[place]
        usual = median_magnitude(own) or median_magnitude(own, positive=True)
        if not usual:
            everywhere = median_magnitude(spreads, positive=True) if everywhere is None else everywhere
            usual = everywhere or 1.0 / share
        found.append((place, share * usual))
    return found


def _with_floor(mads: Tensor, layout: Layout | None) -> Tensor:
    limits = torch.finfo(mads.dtype)
    for place, floor in floors(mads, layout):
        mads[place].mul_(_GAUSSIAN).add_(floor)
    return mads.clamp_(limits.tiny, limits.max)


def _deviations(updates: Updates, peaks: Tensor | None) -> Tensor:
    """Returns the MAD of each column, shape [n_params]; writes the largest deviation into ``peaks``."""
    n_clients, n_params = updates.shape
    mads = torch.empty(n_params, dtype=_dtype(updates), device=updates.device)
    ranks = ((n_clients - 1) // 2, n_clients // 2)
    width = min(SLICE, n_params)

    def make_work() -> Callable[[slice], None]:
        statistics = OrderStatistics(n_clients, ranks, mads, width)

        def work(place: slice) -> None:
            wide = working(updates[:, place])
            low, high = statistics(wide)
            # From the lower middle value, not from the median, whose rounding near rows would feel.
            apart = (wide - low).sub_((high - low).div_(2)).abs_()
            if peaks is not None:
                torch.amax(apart, dim=0, out=peaks[place])
            low, high = statistics(apart)
            mads[place] = low if n_clients % 2 else low / 2 + high / 2

        return work

    over_slices(n_params, width, make_work)
    return mads


def _dtype(updates: Updates) -> torch.dtype:
    return torch.float64 if updates.dtype == torch.float64 else torch.float32
