"""From a panel to the three parts of a task's data, which follow each other in time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from torch.nn.functional import normalize

from hauberk.tasks.errors import UserError
from hauberk.tasks.stocks.examples import StockDay, StockHistory, StockSplits
from hauberk.tasks.stocks.panel import Panel
from hauberk.tasks.stocks.windows import daily_features, market_of, residuals, window_ends
from hauberk.tasks.text.text_vectors import text_vectors

MAX_LENGTH = 32  # tokens read of a text


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Where a panel is cut, in rows of its days.

    Attributes:
        validation: the first day of the validation period; all before it is for training.
        test: the first day of the test period.
        end: behind its last day.
    """

    validation: int
    test: int
    end: int


def cut_of(n_days: int, validation: float, test: float) -> Cut:
    """Returns where ``n_days`` are cut so that the last shares of them validate and test."""
    first_test = n_days - round(test * n_days)
    return Cut(validation=first_test - round(validation * n_days), test=first_test, end=n_days)


def build_splits(
    panel: Panel,
    cut: Cut,
    *,
    window: int,
    stride: int,
    history: int,
    by: str,
    n_texts: int,
    encoder: str,
) -> StockSplits:
    """Returns the days to train on, and the stocks to validate and to test on.

    Args:
        panel: the market.
        cut: where it is cut.
        window: days of a window of prices.
        stride: days from one training example of a stock to its next.
        history: days before a period that its portfolios may know.
        by: what partitions cut by: "stock", "sector" or "source".
        n_texts: how many texts of a stock and day are read at most, the first ones; 0 reads none.
        encoder: what reads them.

    Raises:
        UserError: a period is too short for a window, or no stock was traded for as long as one.
    """
    if cut.validation <= window + 1:
        raise UserError(
            f"model.window: must be below the {cut.validation - 1} returns of the training period, got {window}"
        )
    if cut.validation < history:
        raise UserError(
            f"task.history: must be at most the {cut.validation} days before validation, got {history}"
        )
    days = list(_days(panel, window_ends(1, cut.validation, window, stride), window))
    if n_texts:
        days = _with_texts(days, panel, n_texts, encoder)
    if not days:
        raise UserError(f"model.window: no stock has {window} returns in a row before validation")
    keyed = [replace(day, index=index) for index, day in enumerate(_keyed(days, panel, by))]
    trained = sorted({day.stock for day in keyed})
    return StockSplits(
        train=tuple(keyed),
        validation=_histories(panel, trained, cut.validation, cut.test, history),
        test=_histories(panel, trained, cut.test, cut.end, history),
        labels=panel.symbols,
    )


def _days(panel: Panel, ends: range, window: int) -> Iterator[StockDay]:
    """Yields each stock on each of the days on which its window is whole."""
    features, returns = daily_features(panel), panel.log_returns
    market = market_of(returns)
    for end in ends:
        rows = slice(end - window + 1, end + 1)
        whole = np.flatnonzero(np.isfinite(features[rows]).all((0, 2)) & np.isfinite(returns[rows]).all(0))
        rest = residuals(returns[rows][:, whole], market[rows]).astype(np.float32)
        for place, stock in enumerate(whole.tolist()):
            yield StockDay(
                index=-1, symbol=panel.symbols[stock], stock=stock, day=end, key=stock,
                series=np.ascontiguousarray(features[rows, stock]),
                residual=np.ascontiguousarray(rest[:, place]),
            )  # fmt: skip


def _with_texts(days: list[StockDay], panel: Panel, n_texts: int, encoder: str) -> list[StockDay]:
    """Returns the days with the mean vector of what was written of each."""
    found = {(day.day, day.stock): panel.texts.get((day.day, day.stock), ())[:n_texts] for day in days}
    wanted = tuple(dict.fromkeys(text for texts in found.values() for text in texts))
    if not wanted:
        return days
    vectors = normalize(text_vectors(wanted, encoder, MAX_LENGTH), dim=1).numpy()
    vector: Mapping[str, np.ndarray] = dict(zip(wanted, vectors, strict=True))
    means = {key: np.mean([vector[text] for text in texts], 0) for key, texts in found.items() if texts}
    return [replace(day, text=means.get((day.day, day.stock))) for day in days]


def _keyed(days: list[StockDay], panel: Panel, by: str) -> list[StockDay]:
    """Returns the days with what partitions cut by; by source, a day with a text becomes two: prices, and text."""
    if by == "stock":
        return days
    if by == "sector":
        sectors = panel.sector_numbers.tolist()
        return [replace(day, key=sectors[day.stock]) for day in days]
    prices = [replace(day, key=0, text=None) for day in days]
    return prices + [replace(day, key=1, series=None, residual=None) for day in days if day.text is not None]


def _histories(
    panel: Panel, stocks: list[int], first: int, end: int, history: int
) -> tuple[StockHistory, ...]:
    """Returns the stocks in the period [first, end), with the ``history`` days before it."""
    returns = np.expm1(panel.log_returns[max(0, first - history) : end])
    sectors = panel.sector_numbers.tolist()
    return tuple(
        StockHistory(
            index=row, symbol=panel.symbols[stock], stock=stock, sector=sectors[stock],
            returns=np.ascontiguousarray(returns[:, stock]), start=min(first, history),
        )
        for row, stock in enumerate(stocks)
    )  # fmt: skip
