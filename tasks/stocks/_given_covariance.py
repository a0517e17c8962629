"""skfolio's optimiser on a covariance that is given to it; imported where portfolios are asked for."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from skfolio.moments.covariance import BaseCovariance
from skfolio.optimization import MeanRisk
from skfolio.prior import EmpiricalPrior


class GivenCovariance(BaseCovariance):
    """A covariance [k, k] that no data change."""

    def __init__(self, covariance: np.ndarray):
        super().__init__()
        self.covariance = covariance

    def fit(self, X: Any, y: Any = None, **_: Any) -> GivenCovariance:  # noqa: N803  (scikit-learn's name)
        """Returns itself with what skfolio reads."""
        self._set_covariance(np.asarray(self.covariance))
        return self


def optimise(past: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Returns the long-only weights of least variance with the expected return of equal weights or more, [k]."""
    prior = EmpiricalPrior(covariance_estimator=GivenCovariance(covariance))
    target = float(past.mean()) - 1e-9  # equal weights themselves reach it, so there is always a solution
    with warnings.catch_warnings():
        # Vectors of fewer numbers than there are stocks make it singular; skfolio takes the nearest that is not.
        warnings.filterwarnings("ignore", message="The covariance matrix is not positive definite")
        weights = MeanRisk(prior_estimator=prior, min_return=target).fit(past).weights_
    return np.maximum(weights, 0) / np.maximum(weights, 0).sum()
