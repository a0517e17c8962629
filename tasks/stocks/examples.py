"""What a stock task learns from and is measured on: days of stocks, and whole stocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hauberk.tasks.base import TaskSplits


@dataclass(frozen=True, kw_only=True, eq=False)
class StockDay:
    """A stock on a day of the training period: what was known of it that evening.

    Attributes:
        index: its row in its split.
        symbol: the stock's name.
        stock: its number.
        day: the row of the day among the trading days.
        key: what partitions cut by.
        series: the window's log-returns, volume changes and ranges, float32 [window, 3]; None for one without prices.
        residual: the window's returns without what the market explains of them, float32 [window]; likewise.
        text: the vector of the day's texts, float32 [width]; None for one without.
    """

    index: int
    symbol: str
    stock: int
    day: int
    key: int
    series: np.ndarray | None = None
    residual: np.ndarray | None = None
    text: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class StockHistory:
    """A stock in a later period, on which its vector is measured.

    Attributes:
        index: its row in its split.
        symbol: the stock's name.
        stock: its number.
        sector: the number of its sector.
        returns: daily returns, float64 [history + t]: first those of the days before the period, which portfolios of
            its first day may know; NaN where the stock was not traded.
        start: the row of the period's first day.
    """

    index: int
    symbol: str
    stock: int
    sector: int
    returns: np.ndarray
    start: int


@dataclass(frozen=True, kw_only=True)
class StockSplits(TaskSplits[StockDay | StockHistory]):
    """Days to train on; stocks to validate and to test on. ``labels`` are the stocks' symbols."""
