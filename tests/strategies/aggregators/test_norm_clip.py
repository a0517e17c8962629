import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext, Clip, FedAvg, NormClip, WeakDP, chain


def brute(updates, threshold=None):
    wide = updates.double().numpy()
    norms = np.linalg.norm(wide, axis=1)
    threshold = np.median(norms) if threshold is None else threshold
    return (wide / np.maximum(1, norms / max(threshold, 1e-300))[:, None]).mean(axis=0)


def test_a_hand_calculation():
    # Norms 5, 1 and 10: the median is 5, the last row is halved.
    updates = torch.tensor([[3.0, 4.0], [0.0, 1.0], [-6.0, 8.0]])
    result = NormClip()(updates)
    assert result.update.tolist() == pytest.approx([0, 3], abs=1e-6)
    assert result.weight.tolist() == pytest.approx([0.4, 0.4, 0.2])
    assert result.report == {"norm_clip/threshold": 5.0, "norm_clip/clipped": 1.0}
    assert NormClip(threshold=1)(updates).update.tolist() == pytest.approx([0, 2.6 / 3], abs=1e-6)


@given(
    st.integers(1, 15), st.integers(1, 40), st.one_of(st.none(), st.floats(0.01, 99)), st.integers(0, 2**32)
)
def test_agrees_with_brute_force(n, d, threshold, seed):
    updates = torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).mul(2).exp()
    expected = brute(updates, threshold)
    np.testing.assert_allclose(NormClip(threshold=threshold)(updates).update, expected, rtol=2e-5)
    quiet = WeakDP(threshold=threshold, noise=0)(updates)
    np.testing.assert_allclose(quiet.update, expected, rtol=2e-5)


@pytest.mark.parametrize("size", [1e-8, 1.0])
@pytest.mark.parametrize("scale", [1e10, 1e30, 3e38])
def test_a_huge_row_counts_by_its_direction_alone(size, scale):
    updates = size * torch.randn(10, 1000, generator=torch.Generator().manual_seed(0))
    updates[4] *= 1 / updates[4].abs().max()
    updates[4] *= scale
    expected = brute(updates)
    error = np.linalg.norm(NormClip()(updates).update.numpy() - expected)
    assert error <= 1e-6 * np.linalg.norm(expected)


def test_weak_dp_adds_noise_of_the_given_size_to_the_aggregate():
    updates = torch.zeros(8, 200_000)
    rule = WeakDP(noise=0.5)
    found = rule(updates, context=AggregationContext(round=4)).update
    assert float(found.std()) == pytest.approx(0.5, rel=0.01)
    assert abs(float(found.mean())) < 0.01
    assert torch.equal(found, rule(updates, context=AggregationContext(round=4)).update)
    assert not torch.equal(found, rule(updates, context=AggregationContext(round=5)).update)
    one = rule(updates, context=AggregationContext(rng=torch.Generator().manual_seed(1))).update
    assert torch.equal(
        one, rule(updates, context=AggregationContext(rng=torch.Generator().manual_seed(1))).update
    )


def test_clip_before_the_mean_is_norm_clip():
    updates = torch.randn(6, 40, generator=torch.Generator().manual_seed(0)).mul(2).exp()
    clipped = chain(Clip(threshold=3.0), FedAvg())(updates)
    plain = NormClip(threshold=3.0)(updates)
    torch.testing.assert_close(clipped.update, plain.update)
    torch.testing.assert_close(clipped.weight, plain.weight)


def test_impossible_settings_are_refused():
    for kind in (NormClip, WeakDP, Clip):
        with pytest.raises(ValueError, match=rf"{kind.__name__}\.threshold must be a number > 0, got -1"):
            kind(threshold=-1)
    with pytest.raises(ValueError, match=r"WeakDP\.noise must be a number >= 0, got -0\.1"):
        WeakDP(noise=-0.1)
