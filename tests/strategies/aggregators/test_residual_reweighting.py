import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext, ResidualReweighting
from hauberk.strategies.kernels.repeated_median import Medians, RepeatedMedian, ranks
from tests.helpers.examples import examples


def median(values, lower):
    values = np.sort(values, axis=0)
    low, high = values[(len(values) - 1) // 2], values[len(values) // 2]
    return low if lower else (low + high) / 2


def brute(updates, lam=2.0, delta=0.1, lower=False):
    """The rule as it is written down, client by client; also how near a weight came to delta."""
    y = updates.double().numpy()
    n = len(y)
    x = y.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable").astype(float)
    s = np.sort(y, axis=0)
    slopes = [
        median(np.stack([(s[i] - s[j]) / (i - j) for j in range(n) if j != i]), lower) for i in range(n)
    ]
    b1 = median(np.stack(slopes), lower)
    line = median(y, lower) - b1 * (n - 1) / 2 + b1 * x
    residual = y - line
    tau = 1.4826 * (1 + 5 / (n - 1)) * median(np.sort(np.abs(residual), axis=0)[1:], lower) + 1e-7
    places = np.stack([np.ones(n), np.arange(n)], axis=1)
    hat = np.diag(places @ np.linalg.inv(places.T @ places) @ places.T)
    left = np.sqrt(1 - hat)[x.astype(int)]
    bound = lam * np.sqrt(2 / n)
    with np.errstate(invalid="ignore", divide="ignore"):
        e = residual / tau
        w = np.where(e == 0, 1, left / e * np.clip(e / left, -bound, bound))
    confidence = (w * w.std(axis=0, ddof=1)).sum(axis=1)
    shares = np.ones(n) if confidence.max() == 0 else (confidence / confidence.max()) ** 2
    shares /= shares.sum()
    return shares @ np.where(w < delta, line, y), shares, np.abs(w - delta).min()


def test_a_hand_calculation():
    # 0 1 2 3 on a line and 44 above it: the slope is 1, b0 = 0, the residual 40; the other residuals are 0,
    # so that tau is 1e-7, the outlier's weight nearly 0, and the line's 4 stands for 44. Only it is distrusted.
    updates = torch.tensor([[0.0], [1.0], [2.0], [3.0], [44.0]])
    result = ResidualReweighting()(updates)
    assert result.update.tolist() == pytest.approx([1.5])
    assert result.weight.tolist() == pytest.approx([0.25, 0.25, 0.25, 0.25, 0], abs=1e-9)


def test_without_any_residual_everyone_counts_alike():
    updates = torch.tensor([[0.0, 8.0], [1.0, 6.0], [2.0, 4.0], [3.0, 2.0]])
    result = ResidualReweighting()(updates)
    assert result.weight.tolist() == [0.25] * 4
    assert result.update.tolist() == pytest.approx([1.5, 5.0])


@given(
    st.integers(4, 14),  # lower medians of three put the line through two of them: no residual but rounding
    st.integers(1, 40),
    st.sampled_from(["normal", "heavy", "ties"]),
    st.sampled_from(["paper", "official"]),
    st.sampled_from([(2.0, 0.1), (0.5, 0.3), (4.0, 0.0)]),
    st.integers(0, 2**32),
)
def test_agrees_with_brute_force(n, d, kind, convention, numbers, seed):
    updates = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    updates = {"normal": updates, "heavy": updates.mul(2).exp(), "ties": updates.round()}[kind]
    lam, delta = numbers
    expected, shares, margin = brute(updates, lam, delta, convention == "official")
    assume(margin > 1e-5)  # at delta itself float32 may replace a value that float64 keeps
    result = ResidualReweighting(lam=lam, delta=delta, convention=convention)(updates)
    assert result.weight.tolist() == pytest.approx(shares, rel=1e-4, abs=1e-6)
    error = np.linalg.norm(result.update.double().numpy() - expected)
    assert error <= 2e-5 * np.abs(updates).median() * d**0.5 + 2e-5 * np.linalg.norm(expected)


def test_the_two_medians_differ_by_some_per_cent():
    updates = torch.randn(10, 500, generator=torch.Generator().manual_seed(0))
    paper, official = (ResidualReweighting(convention=c)(updates).update for c in ("paper", "official"))
    assert 0.005 < (paper - official).norm() / paper.norm() < 0.3


@pytest.mark.parametrize("scale", [1e10, 1e30, 3e38])
def test_huge_rows_are_replaced_by_the_line(scale):
    updates = torch.randn(10, 3000, generator=torch.Generator().manual_seed(0))
    updates[4] = scale
    updates[7] *= scale / updates[7].abs().max()
    expected, shares, _ = brute(updates)
    result = ResidualReweighting()(updates)
    assert result.update.isfinite().all()
    assert result.weight.tolist() == pytest.approx(shares, rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(result.update, expected, atol=1e-4)
    assert result.weight[4] < 1e-2


def test_many_slices_agree_with_one(monkeypatch):
    updates = torch.randn(7, 2000, generator=torch.Generator().manual_seed(0))
    updates[3, :500] = 3e38  # some slices are calculated in float64, others are not
    whole = ResidualReweighting()(updates)
    monkeypatch.setattr("hauberk.strategies.aggregators.residual_reweighting._SLICE", 300)
    monkeypatch.setattr("hauberk.strategies.kernels.repeated_median._BUFFER", 2500)
    parts = ResidualReweighting()(updates)
    torch.testing.assert_close(parts.update, whole.update)
    torch.testing.assert_close(parts.weight, whole.weight)


def test_equal_values_are_ranked_by_client_id():
    updates = torch.tensor([[1.0], [1.0], [0.0], [1.0], [7.0], [9.0]])
    assert ranks(updates).squeeze(1).tolist() == [1, 2, 0, 3, 4, 5]
    order = [3, 0, 5, 1, 4, 2]
    straight = ResidualReweighting()(updates, context=AggregationContext(client_ids=tuple(range(6))))
    shuffled = ResidualReweighting()(updates[order], context=AggregationContext(client_ids=tuple(order)))
    assert torch.equal(shuffled.update, straight.update)
    assert torch.equal(shuffled.weight, straight.weight[order])


@examples(20)
@given(st.integers(2, 12), st.booleans(), st.integers(0, 2**32))
def test_repeated_medians_agree_with_brute_force(n, lower, seed):
    rows = torch.randn(n, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    s = rows.sort(dim=0).values.numpy()
    slopes = [
        median(np.stack([(s[i] - s[j]) / (i - j) for j in range(n) if j != i]), lower) for i in range(n)
    ]
    found = RepeatedMedian(n, rows, 30, lower=lower)(torch.from_numpy(s))
    np.testing.assert_allclose(found, median(np.stack(slopes), lower))


def test_medians_may_leave_out_the_smallest():
    rows = torch.tensor([[5.0], [1.0], [2.0], [4.0]])
    assert Medians(4, rows, 1, lower=False)(rows).tolist() == [3.0]
    assert Medians(4, rows, 1, lower=True)(rows).tolist() == [2.0]
    assert Medians(4, rows, 1, lower=True, skip=1)(rows).tolist() == [4.0]
    assert Medians(4, rows, 1, lower=False, skip=2)(rows).tolist() == [4.5]


def test_more_clients_than_a_byte_counts():
    rows = torch.randn(300, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ranks(rows).long(), rows.argsort(dim=0).argsort(dim=0))


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"^ResidualReweighting needs n_clients >= 3, got n_clients=2\.$"):
        ResidualReweighting()(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"convention must be 'paper' or 'official', got 'lower'"):
        ResidualReweighting(convention="lower")
    with pytest.raises(ValueError, match=r"lam must be a number > 0, got 0"):
        ResidualReweighting(lam=0)
