"""Min-Max and Min-Sum: on the edge of their bounds, whatever the updates are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.attacks import Collusion, MinMax, MinSum
from hauberk.attacks.forges._farthest import larger_root
from hauberk.tasks.errors import UserError
from tests.helpers.examples import examples

DIRECTIONS = ["unit", "std", "sign", "own"]


def squares(first, second):
    return (first[:, None].double() - second[None].double()).square().sum(dim=2)


def excess(forge, rows, benign):
    """By how much the worst row exceeds its bound, relative to it."""
    apart, among = squares(rows, benign), squares(benign, benign)
    if isinstance(forge, MinMax):
        return float(apart.max() / among.max()) ** 0.5 - 1
    return float(apart.sum(dim=1).max() / among.sum(dim=1).max()) - 1


@examples(20)
@given(
    cls=st.sampled_from([MinMax, MinSum]),
    direction=st.sampled_from(DIRECTIONS),
    n=st.integers(2, 9),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    offset=st.sampled_from([0.0, 1.0, 100.0]),
    seed=st.integers(0, 2**32),
)
def test_the_bound_is_met_and_used_up(cls, direction, n, scale, offset, seed):
    drawn = torch.randn(n + 2, 50, generator=torch.Generator().manual_seed(seed))
    values = scale * (drawn * torch.linspace(0.1, 3, 50) + offset)
    collusion = Collusion(3 * values[:2], values[2:], values[0])
    forge = cls(direction=direction)
    found = excess(forge, forge(collusion, torch.Generator()), collusion.benign)
    assert found <= 1e-4
    assert found >= -1e-3


@pytest.mark.parametrize("cls", [MinMax, MinSum])
def test_a_hand_calculation(cls):
    benign = torch.tensor([[1.0, 1.0], [1.0, -1.0]])  # mean (1, 0), 2 apart, each 1 from the mean
    row = cls()(Collusion(benign[:1], benign, benign[0]), torch.Generator())[0]
    # Min-Max: g^2 + 1 = 4. Min-Sum: 2 (g^2 + 1) = 4.
    gamma = 3**0.5 if cls is MinMax else 1.0
    assert row.tolist() == pytest.approx([1 - gamma, 0.0], abs=1e-6)


def test_min_sum_is_the_tighter_bound():
    benign = torch.randn(6, 30, generator=torch.Generator().manual_seed(0))
    collusion = Collusion(benign[:1], benign, benign[0])
    far, near = (cls()(collusion, torch.Generator())[0] - benign.mean(dim=0) for cls in (MinMax, MinSum))
    assert near.norm() < far.norm()
    torch.testing.assert_close(near / near.norm(), far / far.norm())


def test_each_colluder_keeps_its_own_direction():
    values = torch.randn(7, 30, generator=torch.Generator().manual_seed(0))
    rows = MinMax(direction="own")(Collusion(values[:2], values[2:], values[0]), torch.Generator())
    mean = values[2:].mean(dim=0)
    assert torch.cosine_similarity(rows - mean, values[:2] - mean).tolist() == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("cls", [MinMax, MinSum])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_honest_updates_that_agree_leave_no_room(cls, direction):
    same = torch.zeros(3, 4)
    assert torch.equal(cls(direction=direction)(Collusion(same, same, same[0]), torch.Generator()), same)
    alone = torch.ones(1, 4)
    found = cls(direction=direction)(Collusion(same, alone, same[0]), torch.Generator())
    torch.testing.assert_close(found, alone.expand(3, -1))


def test_the_root_does_not_cancel():
    inner, rest = torch.tensor([1e8, -1.0]).double(), torch.tensor([-1.0, -3.0]).double()
    assert larger_root(1.0, inner, rest).tolist() == pytest.approx([5e-9, 3.0], rel=1e-9)


def test_an_unknown_direction_is_refused():
    with pytest.raises(UserError, match=r"^direction: must be one of unit, std, sign, own, got 'up'"):
        MinMax(direction="up")
