import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.kernels.chunks import Mixture, choose, column_chunks, weighted_sum
from hauberk.strategies.kernels.distances import gram_matrix, squared_distances


def exact(updates):
    wide = updates.double()
    return torch.stack([(wide - row).square().sum(dim=1) for row in wide])


def rows(kind, n, d, seed):
    rng = torch.Generator().manual_seed(seed)
    normal = torch.randn(n, d, generator=rng)
    if kind == "heavy":
        return normal.mul(4).exp() * normal.sign()
    if kind == "offset":
        return 1e4 + normal
    if kind == "near":
        return torch.randn(1, d, generator=rng) + 1e-6 * normal
    if kind == "twins":
        normal[n // 2 :] = normal[: n - n // 2].clone()
    if kind == "constant":
        return normal[:, :1].expand(n, d).contiguous()
    if kind == "tiny":
        return normal * 1e-30
    return normal


KINDS = ("normal", "heavy", "offset", "near", "twins", "constant", "tiny")


@given(st.sampled_from(KINDS), st.integers(1, 9), st.integers(1, 300), st.integers(0, 2**32))
def test_every_pair_is_exact_to_1e_6(kind, n, d, seed):
    updates = rows(kind, n, d, seed)
    torch.testing.assert_close(squared_distances(updates), exact(updates), rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_exact_over_many_slices(kind):
    updates = rows(kind, 7, 40_001, 5)
    torch.testing.assert_close(squared_distances(updates), exact(updates), rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", [1e10, 1e30, 1e38])
def test_huge_rows_blind_nobody(scale):
    updates = rows("normal", 8, 3000, 1)
    updates[2:4] *= scale / updates[2:4].abs().max()
    torch.testing.assert_close(squared_distances(updates), exact(updates), rtol=1e-6, atol=0)


def test_weights_of_a_large_model_keep_the_distances_of_their_updates():
    # Weights of std .05 whose updates have std 1e-5: float32 products would be off by factors.
    rng = torch.Generator().manual_seed(0)
    updates = 0.05 * torch.randn(40_000, generator=rng) + 1e-5 * torch.randn(10, 40_000, generator=rng)
    torch.testing.assert_close(squared_distances(updates), exact(updates), rtol=1e-6, atol=0)


def test_distances_beyond_float64_are_infinite_and_not_nan():
    distances = squared_distances(torch.tensor([[1e200], [-1e200], [0.0]], dtype=torch.float64))
    assert distances.diagonal().eq(0).all()
    assert distances[0, 1] == torch.inf


def test_gram_matrix_is_the_inner_products():
    updates = rows("normal", 5, 20_000, 2)
    torch.testing.assert_close(gram_matrix(updates), updates.double() @ updates.double().T)


def test_distances_are_the_same_both_ways():
    distances = squared_distances(rows("normal", 13, 20_001, 4))
    assert torch.equal(distances, distances.T)


def test_columns_are_views_that_cover_every_column_once():
    updates = torch.arange(20.0).view(2, 10)
    parts = list(column_chunks(updates, 4))
    assert [part.shape[1] for _, part in parts] == [4, 4, 2]
    assert torch.equal(torch.cat([part for _, part in parts], dim=1), updates)
    assert all(part.untyped_storage().data_ptr() == updates.untyped_storage().data_ptr() for _, part in parts)


def test_a_weighted_sum_of_huge_rows_stays_finite():
    updates = torch.full((4, 3), 3e38)
    torch.testing.assert_close(weighted_sum(updates, torch.full((4,), 0.25)), updates[0])


def test_a_mixture_is_the_product_and_mixtures_compose():
    updates = rows("normal", 4, 1000, 3)
    first, second = torch.rand(3, 4, dtype=torch.float64), torch.rand(2, 3, dtype=torch.float64)
    mixed = Mixture(Mixture(updates, first), second)
    expected = (second @ first @ updates.double()).float()
    assert mixed.shape == (2, 1000)
    assert len(mixed) == 2
    torch.testing.assert_close(mixed.matrix(), expected)
    torch.testing.assert_close(mixed[1], expected[1])
    torch.testing.assert_close(mixed[:, 10:20], expected[:, 10:20])
    torch.testing.assert_close(squared_distances(mixed), exact(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_choice_by_bits_is_a_choice(dtype):
    rng = torch.Generator().manual_seed(0)
    yes, no = torch.randn(2, 3, 500, generator=rng, dtype=dtype)
    yes[0, 0], no[0, 1], no[1, 1] = torch.finfo(dtype).max, -torch.finfo(dtype).max, -0.0
    mask = torch.rand(3, 500, generator=rng) < 0.5
    assert torch.equal(choose(mask, yes, no), torch.where(mask, yes, no))


def test_a_mixture_of_single_rows_copies_them():
    updates = torch.randn(4, 9, generator=torch.Generator().manual_seed(0)).bfloat16()
    chosen = Mixture(updates, torch.eye(4, dtype=torch.float64)[[2, 0, 2]])
    assert torch.equal(chosen.matrix(), updates[[2, 0, 2]])
    assert torch.equal(chosen[:, 2:5], updates[[2, 0, 2], 2:5])
    halved = Mixture(updates, torch.eye(4, dtype=torch.float64)[[2, 0, 2]] / 2)
    torch.testing.assert_close(halved.matrix(), updates[[2, 0, 2]] / 2)
