import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hauberk.strategies.kernels.contribution_limits import (
    RIDGE,
    limits_of,
    precision_of,
    residuals_without_itself,
)
from hauberk.strategies.kernels.contributions import above, beyond, excesses, most_contributed

EVEN = {"threshold": 1.5, "quantile": 0.98, "ceiling": 1.0}


def two_classes(contributions: Tensor) -> Tensor:
    """Contributions [m, n] to the one class and their negative to the other."""
    return contributions.double()[:, :, None] * torch.tensor([1.0, -1.0], dtype=torch.float64)


def answered(n: int, label: int = 0) -> Tensor:
    return torch.full((n,), label)


def drawn(m: int, n: int, seed: int = 0, shared: float = 1.0) -> Tensor:
    """Contributions that have ``shared`` times one thing in common."""
    rng = torch.Generator().manual_seed(seed)
    own = torch.randn(m, n, generator=rng, dtype=torch.float64)
    return own + shared * torch.randn(n, generator=rng, dtype=torch.float64)


def regressed(moved: Tensor, client: int, row: int, fit: Tensor) -> float:
    """The residual at ``row`` of a client's contributions in a ridge regression, with an intercept, on the others'.

    It is fitted on the inputs ``fit`` with the penalty of all inputs.
    """
    others, n = [j for j in range(len(moved)) if j != client], moved.shape[1]
    variances = moved.var(dim=1, correction=0)
    middle_two = variances.sort().values[[(len(moved) - 1) // 2, len(moved) // 2]]
    penalty = n * RIDGE * torch.maximum(variances, middle_two.mean())[others]
    own, rest = moved[client], moved[others]
    mean, mean_of_rest = own[fit].mean(), rest[:, fit].mean(dim=1, keepdim=True)
    centred = rest[:, fit] - mean_of_rest
    slopes = torch.linalg.solve(centred @ centred.T + penalty.diag(), centred @ (own[fit] - mean))
    return float(own[row] - mean - slopes @ (rest[:, row] - mean_of_rest[:, 0]))


def test_a_hand_calculation_of_two_clients():
    # Both have the variance 1 and the covariance .6: the slope of the one on the other is .6 / (1 + RIDGE) = .4. What
    # they move beyond the median is half of their difference, 1, which is less than 5 - .4 * 3 and more than 3 - 2.
    one, other = torch.tensor([1.0, 1, -1, -1] * 5), torch.tensor([1.0, -1, 1, -1] * 5)
    found = two_classes(torch.stack([one, 0.6 * one + 0.8 * other]))
    limits = limits_of(found, answered(20), torch.tensor([0.5, 0.5]), **EVEN)
    asked = two_classes(torch.tensor([[3.0], [5.0]]))
    assert excesses(asked, limits.usual, limits.precision, answered(1)).tolist() == [[-1.0], [1.0]]
    unlike = two_classes(torch.tensor([[-3.0], [5.0]]))
    excess = excesses(unlike, limits.usual, limits.precision, answered(1))
    assert excess.flatten().tolist() == pytest.approx([-3 - 0.4 * 5, 4.0])


def test_a_hand_calculation_of_the_thresholds():
    # Seven that share nothing and whose sizes differ; the quantile .9 of each is its size, the median of them 2, of
    # which a quarter is the floor and twice the ceiling. Nobody's part is 0, so the median of seven is near 0.
    signs = torch.tensor([[1.0 if row >> bit & 1 else -1.0 for row in range(128)] for bit in range(7)])
    sizes = torch.tensor([0.1, 1, 1.5, 2, 2.5, 3, 20])
    found = two_classes((signs * sizes[:, None]).repeat(1, 40))
    n = found.shape[1]
    limits = limits_of(found, answered(n), torch.ones(7), threshold=1.0, quantile=0.9, ceiling=2.0)
    high = limits.excess.quantile(0.9, dim=1)
    common = float(high.median())
    assert limits.thresholds[0].tolist() == pytest.approx([0.25 * common] * 2)
    assert limits.thresholds[-1].tolist() == pytest.approx([2 * common] * 2)
    assert limits.thresholds[2, 0] == pytest.approx(float(high[2]))
    assert float(high[-1]) > 2 * common
    assert float(high[0]) < 0.25 * common


def test_who_counted_twice_as_much_may_move_twice_as_much():
    found = drawn(9, 400)
    found[0] *= 2
    shares = torch.tensor([2.0, *[1.0] * 8])
    limits = limits_of(two_classes(found), answered(400), shares / 10, **EVEN)
    alike = limits_of(two_classes(found), answered(400), torch.ones(9) / 9, **EVEN)
    assert float(limits.thresholds[0, 0]) > 1.5 * float(alike.thresholds[0, 0])
    torch.testing.assert_close(limits.thresholds[1:].max(), alike.thresholds[1:].max(), rtol=0.1, atol=0)


@given(seed=st.integers(0, 2**31), m=st.integers(1, 6), n=st.integers(3, 30))
def test_the_inverse_holds_each_client_s_ridge_regression_on_the_others(seed: int, m: int, n: int):
    found = drawn(m, n, seed)
    moved = found - found.mean(dim=1, keepdim=True)
    precision = precision_of(moved)
    found_residuals = precision @ moved / precision.diagonal()[:, None]
    without = residuals_without_itself(moved, precision)
    every = torch.ones(n, dtype=torch.bool)
    for client in range(m):
        assert float(found_residuals[client, 0]) == pytest.approx(
            regressed(found, client, 0, every), abs=1e-9
        )
        others = torch.arange(n) != 0
        assert float(without[client, 0]) == pytest.approx(regressed(found, client, 0, others), abs=1e-9)


def test_each_class_has_limits_of_its_own_and_a_rare_one_those_of_all():
    found = two_classes(drawn(5, 100))
    answers = torch.tensor([0] * 60 + [1] * 40)
    limits = limits_of(found, answers, torch.ones(5), **EVEN)
    alone = limits_of(found[:, 60:], answers[60:], torch.ones(5), **EVEN)
    torch.testing.assert_close(limits.thresholds[:, 1], alone.thresholds[:, 1])
    torch.testing.assert_close(limits.excess[:, 60:], alone.excess)
    rare = limits_of(found, torch.tensor([0] * 95 + [1] * 5), torch.ones(5), **EVEN)
    torch.testing.assert_close(rare.usual[:, 1], found[:, :, 1].mean(dim=1))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [1.0, 0.1, 0.01, 1e-3, 1e-6, 0.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_liar_that_hardly_moves_clean_inputs_has_nobody_left_out_in_its_place(
    size: float, mirrored: bool, seed: int
):
    found = drawn(10, 200, seed)
    found[0] = size * (found.mean(dim=0) - found[1] if mirrored else found[0])
    limits = limits_of(two_classes(found), answered(200), torch.ones(10), **EVEN)
    asked = drawn(10, 200, seed + 100)
    asked[0] = size * asked[0] + 12
    excess = excesses(two_classes(asked), limits.usual, limits.precision, answered(200))
    left_out = above(excess, limits.thresholds, answered(200), 1)
    assert left_out[:, 0].double().mean() > 0.97


def test_one_absurd_input_of_one_client_widens_nobody_s_limits():
    found = drawn(10, 200)
    before = limits_of(two_classes(found), answered(200), torch.ones(10), **EVEN)
    for absurd in (1e8, 1e30):
        found[0, 0] = absurd
        after = limits_of(two_classes(found), answered(200), torch.ones(10), **EVEN)
        assert torch.isfinite(after.precision).all()
        assert float(after.thresholds.max()) < 1.3 * float(before.thresholds.max())


def test_where_nobody_moves_anything_nobody_is_left_out():
    found = two_classes(torch.zeros(5, 101))
    limits = limits_of(found, answered(101), torch.ones(5), **EVEN)
    excess = excesses(found, limits.usual, limits.precision, answered(101))
    assert not above(excess, limits.thresholds, answered(101), 2).any()


def test_one_client_alone_explains_itself_by_nothing_and_is_the_median():
    moved = torch.tensor([[1.0, -1, 2, -2]], dtype=torch.float64)
    precision = precision_of(moved)
    torch.testing.assert_close(precision @ moved / precision.diagonal(), moved)
    assert (beyond(moved, moved, moved.mean(dim=1)) <= 0).all()


def test_who_moves_usual_inputs_farther_has_to_follow_the_median_client_as_much_farther():
    # Two clients move usual inputs by 1 and 3: the median of the sizes is 2, so the first counts once, the second 1.5
    # times. On an input that both leave 4 behind their usual ones the median client stands at -4.
    usual, unexplained = torch.tensor([1.0, 3.0]).double(), torch.full((2, 1), 9.0).double()
    moved = torch.tensor([[-4.0], [-4.0]]).double()
    assert beyond(moved, unexplained, usual).tolist() == [[0.0], [2.0]]
    assert beyond(moved, unexplained, -usual).tolist() == [[0.0], [0.0]]  # nobody counts less than once


@pytest.mark.parametrize(("times", "stands_out"), [(1.0, False), (5.0, True)])
def test_doing_the_others_work_many_times_over_gives_no_room_elsewhere(times, stands_out):
    found = 0.2 * drawn(10, 200, shared=0.0) + drawn(1, 200, seed=1).abs() + 1
    found[0] *= times
    limits = limits_of(two_classes(found), answered(200), torch.full((10,), 0.1), **EVEN)
    asked = torch.full((10, 1), -1.0).double()  # an input of another class, which the honest leave behind
    asked[0] = found[0].mean() - (
        found[1:].mean() + 1
    )  # as far behind its own usual ones as they are, and no farther
    excess = excesses(two_classes(asked), limits.usual, limits.precision, answered(1))
    assert bool(above(excess, limits.thresholds, answered(1), 1)[0, 0]) == stands_out


@given(seed=st.integers(0, 1000), m=st.integers(3, 9), client=st.integers(0, 2))
def test_more_than_the_most_that_passes_does_not_pass(seed: int, m: int, client: int):
    found = drawn(m, 60, seed) + torch.arange(m)[:, None]
    limits = limits_of(two_classes(found), answered(60), torch.full((m,), 1 / m), **EVEN)
    asked = two_classes(drawn(m, 7, seed + 1))
    most = most_contributed(asked[:, :, 0], limits.usual[:, 0], limits.precision[0], client, 50.0)
    for more, passes in ((-0.01, True), (0.01, False)):
        asked[client, :, 0] = most + more
        excess = excesses(asked, limits.usual, limits.precision, answered(7))[client]
        assert ((excess <= 50) == passes).all()
