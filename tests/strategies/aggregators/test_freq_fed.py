import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext
from hauberk.strategies.aggregators.freq_fed import FreqFed, low_products
from hauberk.strategies.kernels.angles import distances_of_products
from tests.helpers.linkage import first_majority, unit_distances


def cosines(d):
    """The orthonormal DCT-II as a matrix, by its definition."""
    places, frequencies = np.arange(d) + 0.5, np.arange(d)[:, None]
    matrix = np.sqrt(2 / d) * np.cos(np.pi * frequencies * places / d)
    matrix[0] /= np.sqrt(2)
    return torch.from_numpy(matrix)


def low_frequencies(rows, share, block):
    parts = []
    for part in rows.double().split(block, dim=1):
        spectrum = part @ cosines(part.shape[1]).T
        parts.append(spectrum[:, : max(1, int(share * part.shape[1]))])
    return torch.cat(parts, dim=1)


def test_a_hand_calculation():
    # Of two parameters the low half is their sum: models (1 1), (2 2), (3 -1) sum to something positive,
    # (-2 -3) and (-1 0) do not, so that the first three agree.
    updates = torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, -1.0], [-2.0, -3.0], [-1.0, 0.0]])
    result = FreqFed()(updates, context=AggregationContext(parameters=torch.zeros(2)))
    assert result.weight.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0])
    assert result.update.tolist() == pytest.approx([2, 2 / 3])
    assert result.report == {"freq_fed/believed": 3}


@given(
    st.integers(1, 10),
    st.integers(2, 40),
    st.sampled_from([0.25, 0.5, 1.0]),
    st.sampled_from([8, 16, 1 << 16]),
    st.integers(0, 2**32),
)
def test_agrees_with_brute_force(n, d, share, block, seed):
    rng = torch.Generator().manual_seed(seed)
    updates, parameters = torch.randn(n, d, generator=rng), torch.randn(d, generator=rng)
    distances = unit_distances(low_frequencies(parameters + updates, share, block))
    gram = low_products(updates, parameters, share, block)
    found = distances_of_products(gram[1:, 1:], gram[0, 1:], float(gram[0, 0]))
    torch.testing.assert_close(found, distances, rtol=1e-5, atol=1e-6)
    kept = first_majority(found.float().double())
    result = FreqFed(low_share=share, block=block)(updates, context=AggregationContext(parameters=parameters))
    assert torch.equal(result.weight > 0, kept)
    expected = updates.double()[kept].mean(dim=0)
    torch.testing.assert_close(result.update.double(), expected, rtol=2e-5, atol=1e-6)


def test_blocks_hardly_change_the_distances():
    rng = torch.Generator().manual_seed(0)
    parameters = 0.05 * torch.randn(60_000, generator=rng).cumsum(dim=0) / 50
    updates = 1e-4 * torch.randn(6, 60_000, generator=rng)
    updates[:3] += 1e-4 * torch.randn(60_000, generator=rng)

    def distances(block):
        gram = low_products(updates, parameters, 0.5, block)
        return distances_of_products(gram[1:, 1:], gram[0, 1:], float(gram[0, 0]))

    torch.testing.assert_close(distances(4096), distances(60_000), rtol=0.02, atol=0)


@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_a_huge_row_hides_nobody(scale):
    rng = torch.Generator().manual_seed(0)
    parameters = 0.05 * torch.randn(20_000, generator=rng)
    updates = 1e-3 * torch.randn(10, 20_000, generator=rng)
    updates[4] += 2e-3
    updates[7] *= scale
    result = FreqFed()(updates, context=AggregationContext(parameters=parameters))
    assert result.weight[[4, 7]].tolist() == [0, 0]
    kept = updates.double()[result.weight > 0]
    torch.testing.assert_close(result.update.double(), kept.mean(dim=0), rtol=1e-5, atol=1e-9)


def test_what_is_missing_or_impossible_is_refused():
    with pytest.raises(ValueError, match="FreqFed needs parameters"):
        FreqFed()(torch.ones(3, 2))
    with pytest.raises(ValueError, match="low_share must be a number > 0 and <= 1, got 0"):
        FreqFed(low_share=0)
    with pytest.raises(ValueError, match="block must be a whole number >= 1, got 0"):
        FreqFed(block=0)
