import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hauberk.strategies.kernels.contributions import RIDGE, above, calibration, excesses

ZEROS = torch.zeros(101, dtype=torch.long)


def two_classes(contributions: Tensor) -> Tensor:
    """Contributions [m, n] to the one class and their negative to the other."""
    return contributions.double()[:, :, None] * torch.tensor([1.0, -1.0], dtype=torch.float64)


def regressed(contributions: Tensor, client: int, rows: Tensor, fit: Tensor) -> Tensor:
    """The residuals of a client's contributions at ``rows``, of a ridge regression on the others' at ``fit``."""
    others = [j for j in range(len(contributions)) if j != client]
    own, rest, n = contributions[client], contributions[others], int(fit.sum())
    mean, mean_of_rest = own[fit].mean(), rest[:, fit].mean(dim=1, keepdim=True)
    centred = rest[:, fit] - mean_of_rest
    ridge = torch.diag(RIDGE * centred.square().mean(dim=1))
    slopes = torch.linalg.solve(centred @ centred.T / n + ridge, centred @ (own[fit] - mean) / n)
    return own[rows] - mean - slopes @ (rest[:, rows] - mean_of_rest)


def test_a_hand_calculation_of_two_clients():
    # Both have the variance 1 and the covariance rho: the slope of the one on the other is rho / (1 + RIDGE).
    one = torch.tensor([1.0, 1, -1, -1] * 5)
    other = torch.tensor([1.0, -1, 1, -1] * 5)
    found = two_classes(torch.stack([one, 0.6 * one + 0.8 * other]))
    usual, precision, _ = calibration(found, torch.zeros(20, dtype=torch.long), 1.5, 0.98, 2.0)
    asked = two_classes(torch.tensor([[3.0], [5.0]]))
    excess = excesses(asked, usual, precision)
    assert excess[:, 0, 0].tolist() == pytest.approx([3 - 0.6 / 1.5 * 5, 5 - 0.6 / 1.5 * 3])
    assert excess[:, 0, 1].tolist() == pytest.approx([-3 + 0.6 / 1.5 * 5, -5 + 0.6 / 1.5 * 3])


def test_a_hand_calculation_of_the_thresholds():
    # Three that share nothing explain nothing, so an excess is the contribution: 1, 2 and 8 in 40 of 80 inputs, of
    # which the quantile .9 is 1, 2 and 8, too. Twice the median client's is the ceiling, 4.
    signs = torch.tensor([[1.0, 1, 1, 1, -1, -1, -1, -1], [1, 1, -1, -1] * 2, [1, -1] * 4]).repeat(1, 1000)
    found = two_classes(signs * torch.tensor([[1.0], [2], [8]]))
    _, _, thresholds = calibration(found, torch.zeros(8000, dtype=torch.long), 1.5, 0.9, 2.0)
    for of_a_class in thresholds.T.tolist():
        assert of_a_class == pytest.approx([1.5, 3, 6], rel=1e-3)


@given(seed=st.integers(0, 2**31), m=st.integers(1, 6), n=st.integers(10, 40))
def test_the_inverse_holds_each_client_s_ridge_regression_on_the_others(seed: int, m: int, n: int):
    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(m, m, generator=rng, dtype=torch.float64)
    found = mixing @ torch.randn(m, n, generator=rng, dtype=torch.float64)
    usual, precision, _ = calibration(two_classes(found), torch.zeros(n, dtype=torch.long), 1.5, 0.98, 2.0)
    every = torch.ones(n, dtype=torch.bool)
    for client in range(m):
        torch.testing.assert_close(
            excesses(two_classes(found), usual, precision)[client, :, 0],
            regressed(found, client, every, every),
        )


def test_the_thresholds_take_each_clean_input_as_if_it_had_not_been_there():
    # The ridge aside, which is of the variance with it, a residual is that of a regression on the other inputs.
    found = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) @ torch.randn(
        3, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    alone = torch.empty(3, 60, dtype=torch.float64)
    for one in range(60):
        rows = torch.arange(60) == one
        for client in range(3):
            alone[client, one] = regressed(found, client, rows, ~rows)[0]
    _, _, thresholds = calibration(two_classes(found), torch.zeros(60, dtype=torch.long), 1.0, 0.9, 100.0)
    torch.testing.assert_close(thresholds[:, 0], alone.quantile(0.9, dim=1), rtol=0.02, atol=0)


def test_a_client_that_never_moves_an_answer_is_flagged_when_it_does_and_explains_nothing():
    rng = torch.Generator().manual_seed(0)
    found = two_classes(torch.cat([torch.zeros(1, 101), torch.randn(4, 101, generator=rng)]))
    usual, precision, thresholds = calibration(found, ZEROS, 1.5, 0.98, 2.0)
    assert torch.isfinite(precision).all()
    asked = two_classes(torch.tensor([[2.0], [0], [0], [0], [0]]))
    left_out = above(excesses(asked, usual, precision), thresholds, torch.zeros(1, dtype=torch.long), 1)
    assert left_out.tolist() == [[True, False, False, False, False]]


def test_where_nobody_moves_anything_nobody_is_flagged():
    found = two_classes(torch.zeros(5, 101))
    usual, precision, thresholds = calibration(found, ZEROS, 1.5, 0.98, 2.0)
    assert not above(excesses(found, usual, precision), thresholds, ZEROS, 2).any()
