import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.kernels.angles import cosine_distances, products
from hauberk.strategies.kernels.norms import clip_factors, median_of, row_norms, scaled_sum


def exact(updates, origin=None):
    """Half the squared distance of the unit vectors: 1 - cos with all its digits."""
    rows = updates.double() if origin is None else updates.double() + origin.double()
    units = rows / rows.norm(dim=1, keepdim=True)
    return torch.stack([(units - unit).square().sum(dim=1) / 2 for unit in units])


@given(
    st.integers(1, 8), st.integers(2, 200), st.sampled_from([0, 1e-4, 1e-2, 1, 100]), st.integers(0, 2**32)
)
def test_agrees_with_unit_vectors(n, d, scale, seed):
    rng = torch.Generator().manual_seed(seed)
    updates = torch.randn(n, d, generator=rng)
    origin = torch.randn(d, generator=rng)
    if scale == 0:
        torch.testing.assert_close(cosine_distances(updates), exact(updates), rtol=1e-6, atol=1e-12)
    else:
        found = cosine_distances(scale * updates, origin)
        torch.testing.assert_close(found, exact(scale * updates, origin), rtol=1e-6, atol=1e-14)


def test_nearly_parallel_models_keep_their_digits():
    rng = torch.Generator().manual_seed(0)
    origin = 0.05 * torch.randn(100_000, generator=rng)
    updates = 1e-5 * torch.randn(6, 100_000, generator=rng)
    updates[3] = updates[2]
    found = cosine_distances(updates, origin)
    assert found[0, 1] == pytest.approx(4e-8, rel=0.05)
    assert found[2, 3] == 0
    torch.testing.assert_close(found, exact(updates, origin), rtol=1e-6, atol=1e-18)


@pytest.mark.parametrize("scale", [1e10, 1e30, 1e38])
def test_huge_rows_and_opposite_ones(scale):
    rng = torch.Generator().manual_seed(0)
    updates = torch.randn(5, 300, generator=rng)
    updates[4] = -updates[3]
    expected = exact(updates)
    updates[3] *= 1 / updates[3].abs().max()
    updates[3] *= scale
    torch.testing.assert_close(cosine_distances(updates), expected, rtol=1e-5, atol=1e-12)


def test_a_row_of_zeros_is_at_right_angles_to_all():
    found = cosine_distances(torch.tensor([[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]]))
    assert found.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


def test_products_norms_and_medians():
    updates = torch.tensor([[3.0, 4.0], [0.0, 0.0], [6.0, 8.0], [1.0, 0.0]])
    assert products(updates, torch.tensor([1.0, 2.0])).tolist() == [11, 0, 22, 1]
    assert row_norms(updates).tolist() == [5, 0, 10, 1]
    assert median_of(row_norms(updates)) == 3
    assert median_of(torch.tensor([5.0, 1.0, 9.0])) == 5
    assert clip_factors(row_norms(updates), 4.0).tolist() == [0.8, 1, 0.4, 1]
    assert clip_factors(row_norms(updates), 0.0).tolist() == [0, 1, 0, 0]


def test_a_scaled_sum_keeps_the_digits_of_huge_rows_and_stays_finite():
    updates = torch.tensor([[1e38, -2e38], [1.0, 3.0]])
    torch.testing.assert_close(scaled_sum(updates, torch.tensor([1e-38, 2.0])), torch.tensor([3.0, 4.0]))
    assert scaled_sum(updates, torch.tensor([10.0, 1.0])).tolist() == pytest.approx(
        [3.4028235e38, -3.4028235e38]
    )
