"""What vectors are worth, by hand."""

import numpy as np
import pytest

from hauberk.tasks.stocks.neighbours import (
    chance_purity,
    future_correlation,
    sector_information,
    sector_purity,
)
from hauberk.tasks.stocks.portfolios import (
    Trading,
    by_cosines,
    equal_weights,
    ledoit_wolf,
    measures,
    sample_covariance,
    walk_forward,
)
from hauberk.tasks.stocks.windows import market_of, residuals

SECTORS = np.array([0, 0, 0, 1, 1, 2])
NEAR = np.where(SECTORS[:, None] == SECTORS[None, :], 0.9, 0.1)


def test_purity_counts_the_nearest_of_the_own_sector_where_there_are_any():
    assert sector_purity(NEAR, SECTORS, 1) == 1
    assert sector_purity(NEAR, SECTORS, 2) == pytest.approx(
        (3 * 1 + 2 * 0.5) / 5
    )  # the sixth is alone in its sector
    assert sector_purity(-NEAR, SECTORS, 1) == 0
    assert chance_purity(SECTORS) == pytest.approx((3 * 2 / 5 + 2 * 1 / 5) / 5)
    assert sector_information(NEAR, SECTORS) == pytest.approx(1)


def test_chance_is_what_random_neighbours_come_to():
    rng = np.random.default_rng(0)
    drawn = [sector_purity(rng.normal(size=(6, 6)), SECTORS, 2) for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(chance_purity(SECTORS), abs=0.02)


def test_nearness_that_follows_later_residual_returns_correlates_with_them():
    rng = np.random.default_rng(0)
    returns = rng.normal(size=(500, 3))[:, [0, 0, 1, 1, 2, 2]] + 0.5 * rng.normal(size=(500, 6))
    same = np.kron(np.eye(3), np.ones((2, 2)))
    assert future_correlation(same, returns) > 0.4
    assert future_correlation(-same, returns) < -0.4


def test_residuals_are_free_of_the_market():
    rng = np.random.default_rng(0)
    returns = rng.normal(size=(50, 4))
    returns[7, 2] = np.nan
    market = market_of(returns)
    assert market[7] == pytest.approx(returns[7, [0, 1, 3]].mean())
    rest = residuals(returns[10:], market[10:])
    assert rest.T @ (market[10:] - market[10:].mean()) == pytest.approx(0, abs=1e-9)


def test_a_portfolio_drifts_between_rebalancings_and_pays_for_what_it_trades():
    returns = np.array([[0.0, 0.0]] * 20 + [[0.5, 0.0], [0.0, 0.2], [0.1, 0.1]])
    returns[:20] += np.random.default_rng(0).normal(0, 0.01, (20, 2))
    daily, traded = zip(
        *walk_forward(returns, 20, equal_weights, Trading(history=20, rebalance=2, cost=0.01)), strict=True
    )
    assert traded == pytest.approx((1, 0, 2 * (0.75 / 1.35 - 0.5)))
    assert daily[:2] == pytest.approx((0.99 * 1.25 - 1, 0.4 * 0.2))
    assert daily[2] == pytest.approx((1 - 0.01 * traded[2]) * 1.1 - 1)


def test_a_stock_without_a_whole_history_is_not_held_and_one_that_ends_earns_nothing():
    returns = np.random.default_rng(0).normal(0, 0.01, (30, 3))
    returns[:5, 0] = np.nan
    returns[25:, 1] = np.nan
    held = []

    def weights(past, stocks):
        held.append(stocks.tolist())
        return equal_weights(past, stocks)

    days = [
        gain for gain, _ in walk_forward(returns, 20, weights, Trading(history=20, rebalance=50, cost=0.0))
    ]
    assert held == [[1, 2]]
    assert len(days) == 10
    assert np.isfinite(days).all()


def test_measures_of_a_year():
    daily = np.tile([0.01, -0.005], 126)
    found = measures(daily)
    assert found["annual_return"] == pytest.approx((1.01 * 0.995) ** 126 - 1)
    assert found["volatility"] == pytest.approx(daily.std(ddof=1) * 252**0.5)
    assert found["sharpe"] == pytest.approx(daily.mean() / daily.std(ddof=1) * 252**0.5)
    assert found["max_drawdown"] == pytest.approx(0.005)
    assert measures(np.array([-0.5, 1.0]))["max_drawdown"] == pytest.approx(0.5)
    assert measures(np.zeros(5))["sharpe"] == 0


@pytest.mark.xdist_group("portfolios")
def test_mean_variance_is_the_known_optimum():
    rng = np.random.default_rng(0)
    past = rng.normal(0.001, [0.01, 0.02], (250, 2))
    past -= past.mean(0) - 0.001  # alike in return: variance alone decides
    variance = past.var(0, ddof=1)
    of_uncorrelated = (1 / variance) / (1 / variance).sum()
    assert by_cosines(np.eye(2))(past, np.arange(2)) == pytest.approx(of_uncorrelated, abs=1e-3)
    for weights in (sample_covariance, ledoit_wolf):
        found = weights(past, np.arange(2))
        assert found.sum() == pytest.approx(1)
        assert (found >= 0).all()
        assert found[0] > 0.7


@pytest.mark.xdist_group("portfolios")
def test_an_expected_return_below_that_of_equal_weights_is_not_taken():
    rng = np.random.default_rng(0)
    past = rng.normal(0, [0.001, 0.02, 0.02], (250, 3))
    past += np.array([0.0, 0.001, 0.001]) - past.mean(0)
    found = by_cosines(np.eye(3))(past, np.arange(3))
    assert found @ past.mean(0) >= past.mean() - 1e-6
    assert found[0] == pytest.approx(1 / 3, abs=1e-2)
