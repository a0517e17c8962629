"""From a panel to examples: what a stock did in the days up to one, and nothing later."""

from __future__ import annotations

import numpy as np

from hauberk.tasks.stocks.panel import Panel

# By these constants, and by no statistic of the data, features come to about one; beyond LARGEST they are cut.
TYPICAL_RETURN, TYPICAL_VOLUME_CHANGE, TYPICAL_RANGE, LARGEST = 0.02, 0.5, 0.02, 5.0
N_FEATURES = 3


def daily_features(panel: Panel) -> np.ndarray:
    """Returns log-return, change of log volume and log range of each day, float32 [t, n, 3].

    A row depends on its own day and the one before; what is not known is 0, a day before a stock's first is NaN.
    """
    features = np.zeros((*panel.close.shape, N_FEATURES))
    features[..., 0] = panel.log_returns / TYPICAL_RETURN
    if panel.volume is not None:
        features[1:, :, 1] = np.diff(np.log1p(panel.volume), axis=0) / TYPICAL_VOLUME_CHANGE
    if panel.high is not None and panel.low is not None:
        features[..., 2] = np.log(panel.high / panel.low) / TYPICAL_RANGE
    return np.clip(features, -LARGEST, LARGEST).astype(np.float32)


def market_of(returns: np.ndarray) -> np.ndarray:
    """Returns the mean return of the stocks that are traded, [t], of returns [t, n]; 0 where none is."""
    known = np.isfinite(returns)
    return np.where(known, returns, 0).sum(1) / np.maximum(1, known.sum(1))


def residuals(returns: np.ndarray, market: np.ndarray) -> np.ndarray:
    """Returns the returns [w, n] without their mean and without what the market [w] explains: rho = r - beta * m.

    beta is fitted in the same window, so that no day outside it counts.
    """
    r, m = returns - returns.mean(0), market - market.mean()
    beta = m @ r / max(float(m @ m), 1e-12)
    return r - m[:, None] * beta


def window_ends(first: int, last: int, window: int, stride: int) -> range:
    """Returns the rows of the days, every ``stride``-th, on which a window of returns in [first, last) ends."""
    return range(first + window, last, stride)
