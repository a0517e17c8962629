import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.kernels import magnitudes
from hauberk.strategies.kernels.magnitudes import kth_magnitude, median_magnitude, top_magnitudes


def values(kind, n, dtype, seed):
    normal = torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    if kind == "ties":
        return normal.round()
    if kind == "wide":
        return (
            normal * torch.randn(n, dtype=dtype, generator=torch.Generator().manual_seed(seed)).mul(9).exp()
        )
    return normal * 1e-40 if kind == "tiny" else normal


many = given(
    st.sampled_from(("normal", "ties", "wide", "tiny")),
    st.integers(1, 300),
    st.sampled_from((torch.float32, torch.float64)),
    st.integers(0, 2**32),
)


@many
def test_every_rank_agrees_with_a_sort(kind, n, dtype, seed):
    row = values(kind, n, dtype, seed)
    expected = row.abs().double().sort().values
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(magnitudes, "_SLICE", 64)
        for rank in {0, n // 3, n - 1}:
            assert kth_magnitude(row, rank) == float(expected[rank])
        assert median_magnitude(row) == pytest.approx(
            float(np.median(expected.numpy())), rel=1e-12, abs=1e-44
        )
        positive = expected[expected > 0].numpy()
        median = float(np.median(positive)) if len(positive) else 0.0
        assert median_magnitude(row, positive=True) == pytest.approx(median, rel=1e-12, abs=1e-44)


@many
def test_the_largest_agree_with_a_sort_and_ties_go_to_the_first(kind, n, dtype, seed):
    row = values(kind, n, dtype, seed)
    order = (-row.abs()).argsort(stable=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(magnitudes, "_SLICE", 64)
        for k in {1, n // 2 + 1, n}:
            assert torch.equal(top_magnitudes(row, k), order[:k].sort().values)


def test_a_hand_calculation():
    row = torch.tensor([-3.0, 0.0, 2.0, 3.0, -1.0])
    assert [kth_magnitude(row, rank) for rank in range(5)] == [0, 1, 2, 3, 3]
    assert median_magnitude(row) == 2
    assert median_magnitude(row, positive=True) == 2.5
    assert top_magnitudes(row, 1).tolist() == [0]
    assert top_magnitudes(row, 3).tolist() == [0, 2, 3]
    assert median_magnitude(row * 0, positive=True) == 0
