"""Portfolios whose weights are found anew every few weeks from the past alone, and what they were worth.

Mean-variance: min_w w' Sigma w with sum w = 1, w >= 0 and an expected return no less than that of equal weights, solved
by skfolio. Of stocks' vectors e, Sigma_ij = sigma_i sigma_j cos(e_i, e_j), with volatilities of the days before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hauberk.tasks.errors import UserError

DAYS_A_YEAR = 252
Weights = Callable[
    [np.ndarray, np.ndarray], np.ndarray
]  # past returns [h, k] of the stocks [k] -> weights [k]


@dataclass(frozen=True, kw_only=True)
class Trading:
    """How portfolios are held.

    Args:
        history: days before a rebalancing that it knows.
        rebalance: days from one to the next.
        cost: share of the traded value that trading costs, such as 0.001.
    """

    history: int = 252
    rebalance: int = 21
    cost: float = 0.001


def equal_weights(past: np.ndarray, stocks: np.ndarray) -> np.ndarray:
    """Returns the same weight for each stock."""
    return np.full(len(stocks), 1 / len(stocks))


def sample_covariance(past: np.ndarray, stocks: np.ndarray) -> np.ndarray:
    """Returns the mean-variance weights of the sample covariance."""
    return mean_variance(past, np.cov(past.T))


def ledoit_wolf(past: np.ndarray, stocks: np.ndarray) -> np.ndarray:
    """Returns the mean-variance weights of Ledoit and Wolf's shrunken covariance (2004)."""
    from sklearn.covariance import LedoitWolf

    return mean_variance(past, LedoitWolf().fit(past).covariance_)


def by_cosines(cosines: np.ndarray) -> Weights:
    """Returns what finds the mean-variance weights of stocks whose vectors have these ``cosines`` [n, n]."""

    def weights(past: np.ndarray, stocks: np.ndarray) -> np.ndarray:
        volatility = past.std(0, ddof=1)
        return mean_variance(past, np.outer(volatility, volatility) * cosines[np.ix_(stocks, stocks)])

    return weights


def mean_variance(past: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Returns the weights of least variance whose expected return is no less than that of equal weights, [k].

    Args:
        past: daily returns, [h, k].
        covariance: of the k stocks.

    Raises:
        UserError: skfolio is not installed.
    """
    try:
        from hauberk.tasks.stocks._given_covariance import optimise
    except ImportError as error:
        raise UserError(f"Portfolios need {error.name}: pip install 'hauberk[stocks]'.") from error
    return optimise(past, covariance)


def walk_forward(
    returns: np.ndarray, start: int, weights: Weights, trading: Trading
) -> Iterator[tuple[float, float]]:
    """Yields each day's return after costs, and what was traded before it as a share of the portfolio's value.

    Args:
        returns: [t, n]; NaN where a stock is not traded, which counts as 0 while it is held.
        start: the first day on which the portfolio is held, of the rows of ``returns``.
        weights: what finds weights from the days before.
        trading: how it is held.
    """
    held = np.zeros(returns.shape[1])
    for day in range(start, len(returns)):
        traded = 0.0
        if (day - start) % trading.rebalance == 0:
            wanted = _weights_on(returns[max(0, day - trading.history) : day], weights)
            traded, held = float(np.abs(wanted - held).sum()), wanted
        gain = float(held @ np.nan_to_num(returns[day]))
        held = held * (1 + np.nan_to_num(returns[day])) / (1 + gain)
        yield (1 - trading.cost * traded) * (1 + gain) - 1, traded


def _weights_on(past: np.ndarray, weights: Weights) -> np.ndarray:
    """Returns the weights of all stocks, [n]; 0 of those that were not traded all the days before."""
    stocks = np.flatnonzero(np.isfinite(past).all(0) & (past.std(0) > 0))
    whole = np.zeros(past.shape[1])
    if not len(stocks):
        raise UserError(
            f"task.history: no stock was traded on all of the {len(past)} days before a rebalancing"
        )
    whole[stocks] = weights(past[:, stocks], stocks)
    return whole


def measures(daily: np.ndarray) -> dict[str, float]:
    """Returns what daily returns [t] come to in a year of 252 days.

    ``annual_return`` is compounded, ``volatility`` and ``sharpe`` (without a riskless rate) are of daily returns, and
    ``max_drawdown`` is the largest loss from a peak, as a share of it.
    """
    wealth = np.cumprod(1 + daily)
    peak = np.maximum.accumulate(np.maximum(wealth, 1))
    deviation = float(daily.std(ddof=1)) if len(daily) > 1 else 0.0
    return {
        "annual_return": float(wealth[-1] ** (DAYS_A_YEAR / len(daily)) - 1),
        "volatility": deviation * DAYS_A_YEAR**0.5,
        "sharpe": float(daily.mean()) / deviation * DAYS_A_YEAR**0.5 if deviation else 0.0,
        "max_drawdown": float((1 - wealth / peak).max()),
    }
