import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.aggregators import sign_guard
from hauberk.strategies.aggregators.sign_guard import SignGuard, largest_sign_cluster, sign_shares
from tests.helpers.examples import examples


def test_a_hand_calculation():
    # Norms 5, 5, 5, 5, 50, 5: the fifth is longer than three medians. Only the last has more minus signs.
    updates = torch.tensor(
        [
            [3.0, 4.0, 0.0],
            [4.0, 3.0, 0.0],
            [0.0, 3.0, 4.0],
            [3.0, 0.0, 4.0],
            [30.0, 40.0, 0.0],
            [-3.0, -4.0, 0.0],
        ]
    )
    assert sign_shares(updates)[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert sign_shares(updates)[5].tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    result = SignGuard()(updates)
    assert result.weight.tolist() == [0.25, 0.25, 0.25, 0.25, 0, 0]
    assert result.update.tolist() == pytest.approx([2.5, 2.5, 2])
    assert list(result.report.values()) == [5, 5, 4]


def test_what_passes_is_clipped_to_the_median_norm():
    # Norms 1, 1, 2, 4, 5: the median is 2, and all pass up to three times that.
    updates = torch.tensor([[1.0], [1.0], [2.0], [4.0], [5.0]])
    assert SignGuard()(updates).update.tolist() == pytest.approx([(1 + 1 + 2 + 2 + 2) / 5])
    assert SignGuard(upper=2.2)(updates).update.tolist() == pytest.approx([(1 + 1 + 2 + 2) / 4])
    assert SignGuard(lower=0.6)(updates).update.tolist() == pytest.approx([2])


@given(st.integers(1, 9), st.integers(1, 60), st.integers(0, 2**32))
def test_the_parts_agree_with_float64(n, d, seed):
    rng = torch.Generator().manual_seed(seed)
    updates = torch.randn(n, d, generator=rng) * (torch.rand(n, d, generator=rng) > 0.2)
    updates *= torch.randn(n, 1, generator=rng).exp()
    wide = updates.double()
    shares = torch.stack(
        [(wide > 0).double().mean(1), (wide == 0).double().mean(1), (wide < 0).double().mean(1)], 1
    )
    torch.testing.assert_close(sign_shares(updates), shares, rtol=1e-12, atol=1e-12)
    norms = wide.norm(dim=1)
    bound = norms.quantile(0.5)
    with pytest.MonkeyPatch.context() as patch:
        alike = torch.rand(n, generator=rng) > 0.3
        patch.setattr(sign_guard, "largest_sign_cluster", lambda shares, by_id: alike)
        result = SignGuard()(updates)
    believed = alike & (norms >= 0.1 * bound) & (norms <= 3 * bound)
    if not believed.any():
        assert result.weight is None
        assert not result.update.any()
        return
    assert torch.equal(result.weight > 0, believed)
    factors = torch.where(norms > bound, bound / norms, 1.0)
    expected = (wide * factors[:, None])[believed].mean(dim=0)
    torch.testing.assert_close(result.update.double(), expected, rtol=2e-5, atol=1e-6)


@examples(15)
@given(st.integers(1, 8), st.integers(0, 2**32))
def test_clusters_of_signs_follow_the_client_also_where_they_tie(n, seed):
    rng = torch.Generator().manual_seed(seed)
    shares = torch.randint(0, 4, (n, 3), generator=rng).double()
    order = torch.randperm(n, generator=rng)
    straight = largest_sign_cluster(shares, torch.arange(n))
    assert torch.equal(largest_sign_cluster(shares[order], order.argsort()), straight[order])


@pytest.mark.parametrize("flipped", [1, 2, 3])
def test_sign_flippers_are_dropped(flipped):
    rng = torch.Generator().manual_seed(0)
    updates = 0.3 + torch.randn(10, 5000, generator=rng)
    updates[:flipped] *= -1
    assert SignGuard()(updates).weight[:flipped].max() == 0


@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_a_huge_row_hides_nobody(scale):
    updates = 0.3 + torch.randn(10, 5000, generator=torch.Generator().manual_seed(0))
    updates[3] *= -1
    updates[6] *= scale
    result = SignGuard()(updates)
    assert result.weight[[3, 6]].tolist() == [0, 0]


def test_where_nobody_passes_both_filters_no_client_counts():
    # The two that agree in their signs are far too long and far too short.
    updates = torch.tensor([[100.0, 100.0], [1e-3, 1e-3], [1.0, -1.0], [-2.0, 0.0], [0.0, -3.0]])
    result = SignGuard()(updates)
    assert result.weight is None
    assert result.update.tolist() == [0, 0]


def test_what_is_impossible_is_refused():
    with pytest.raises(ValueError, match="lower must be a number >= 0 and <= 1, got 2"):
        SignGuard(lower=2)
    with pytest.raises(ValueError, match=r"upper must be a number >= 1, got 0\.5"):
        SignGuard(upper=0.5)
