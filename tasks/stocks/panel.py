"""Prices of several stocks on the same trading days, and what was written of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """A market's history; a number is NaN where a stock was not traded yet, or no more.

    Attributes:
        symbols: the stocks, [n].
        sectors: the sector of each stock by its name, [n].
        dates: the trading days, ascending, datetime64[D] [t].
        close: adjusted closing prices, float64 [t, n].
        high, low: the day's highest and lowest price as traded, float64 [t, n]; None where not known.
        volume: shares traded, float64 [t, n]; None where not known.
        texts: what was written of a stock, by the row of the trading day and the number of the stock.
    """

    symbols: tuple[str, ...]
    sectors: tuple[str, ...]
    dates: np.ndarray
    close: np.ndarray
    high: np.ndarray | None = None
    low: np.ndarray | None = None
    volume: np.ndarray | None = None
    texts: Mapping[tuple[int, int], tuple[str, ...]] = field(default_factory=dict)

    @property
    def sector_numbers(self) -> np.ndarray:
        """The sector of each stock as a number, by the names' order, int64 [n]."""
        names = sorted(set(self.sectors))
        return np.array([names.index(sector) for sector in self.sectors])

    @property
    def log_returns(self) -> np.ndarray:
        """The change of the logarithm of the price since the day before, float64 [t, n]; the first row is NaN."""
        returns = np.full_like(self.close, np.nan)
        returns[1:] = np.diff(np.log(self.close), axis=0)
        return returns
