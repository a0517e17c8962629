import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext
from hauberk.strategies.aggregators.flame import FLAME
from hauberk.strategies.kernels.clusters import hdbscan, majority
from tests.helpers.examples import examples
from tests.helpers.linkage import first_majority, unit_distances


def brute(updates, parameters):
    wide = updates.double()
    kept = first_majority(unit_distances(parameters.double() + wide))
    norms = wide.norm(dim=1)
    bound = norms.quantile(0.5)
    return (wide * (bound / norms).clamp(max=1)[:, None])[kept].mean(dim=0), kept


def test_a_hand_calculation():
    # Three models point along x, two along y. Norms 1 1 4 1 1, median 1: the third is cut to a fourth.
    updates = torch.tensor([[1.0, 0.0], [1.0, 0.0], [4.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    result = FLAME(noise=0)(updates, context=AggregationContext(parameters=torch.zeros(2)))
    assert result.weight.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0])
    assert result.update.tolist() == [1, 0]
    assert result.report == {"flame/believed": 3, "flame/bound": 1}
    # The believed are the last three: that convention cuts the first, the second and the third of them by
    # the factors of clients 1, 2 and 3 of all: 1, 1 and 1/4.
    order = torch.tensor([3, 4, 2, 1, 0])
    parameters = torch.zeros(2)
    odd = FLAME(noise=0, convention="zhmzm")(
        updates[order], context=AggregationContext(parameters=parameters)
    )
    assert odd.weight.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 3, 1 / 3])
    assert odd.update.tolist() == pytest.approx([(4 + 1 + 0.25) / 3, 0])


@given(st.integers(1, 12), st.integers(2, 40), st.sampled_from([0.01, 1, 100]), st.integers(0, 2**32))
def test_agrees_with_brute_force(n, d, scale, seed):
    rng = torch.Generator().manual_seed(seed)
    updates, parameters = scale * torch.randn(n, d, generator=rng), torch.randn(d, generator=rng)
    updates *= 1 + torch.rand(n, 1, generator=rng)
    expected, kept = brute(updates, parameters)
    result = FLAME(noise=0)(updates, context=AggregationContext(parameters=parameters))
    assert torch.equal(result.weight > 0, kept)
    torch.testing.assert_close(result.update.double(), expected, rtol=2e-5, atol=2e-6 * scale)


@given(st.integers(1, 14), st.integers(1, 3), st.booleans(), st.integers(0, 2**32))
def test_majority_is_the_first_group_of_more_than_half_also_where_distances_tie(n, d, ties, seed):
    rng = torch.Generator().manual_seed(seed)
    points = torch.randn(n, d, generator=rng, dtype=torch.float64)
    points = points.round() if ties else points
    distances = torch.stack([(points - point).square().sum(dim=1) for point in points]).float().double()
    order = torch.randperm(n, generator=rng)
    found = majority(distances, range(n))
    assert torch.equal(found, first_majority(distances))
    assert torch.equal(majority(distances[order][:, order], order.tolist()), found[order])


@examples(20)
@given(st.integers(2, 14), st.booleans(), st.integers(0, 2**32))
def test_groups_follow_the_client_ids_where_distances_tie(n, single, seed):
    rng = torch.Generator().manual_seed(seed)
    points = torch.randn(n, 2, generator=rng).round().double()
    order = torch.randperm(n, generator=rng)
    options = {"precomputed": False, "min_cluster_size": 3, "allow_single_cluster": single}
    straight = hdbscan(points, range(n), **options)
    assert torch.equal(hdbscan(points[order], order.tolist(), **options), straight[order])


def test_noise_is_a_share_of_the_median_norm():
    updates = torch.zeros(5, 200_000)
    updates[:, 0] = torch.tensor([1.0, 2.0, 3.0, 40.0, 50.0])
    context = AggregationContext(parameters=torch.ones(200_000))
    noise = FLAME(noise=0.01)(updates, context=context).update[1:]
    assert noise.std() == pytest.approx(0.03, rel=0.02)


@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_a_huge_row_hides_nobody(scale):
    rng = torch.Generator().manual_seed(0)
    parameters = 0.05 * torch.randn(20_000, generator=rng)
    updates = 1e-3 * torch.randn(10, 20_000, generator=rng)
    updates[4] += 2e-3
    updates[7] *= scale
    result = FLAME(noise=0)(updates, context=AggregationContext(parameters=parameters))
    assert result.weight[[4, 7]].tolist() == [0, 0]
    expected, kept = brute(updates, parameters)
    assert torch.equal(result.weight > 0, kept)
    torch.testing.assert_close(result.update.double(), expected, rtol=1e-6, atol=1e-9)


def test_small_updates_of_large_weights_are_told_apart():
    # Weights of std .05 and updates of std 1e-5: the cosines are 1 to seven digits.
    rng = torch.Generator().manual_seed(0)
    parameters = 0.05 * torch.randn(300_000, generator=rng)
    updates = 1e-5 * torch.randn(9, 300_000, generator=rng)
    updates[[2, 5]] += 1e-5 * torch.randn(300_000, generator=rng)
    updates[:, :1000] += 1e-5
    updates[[2, 5]] *= 1.01
    result = FLAME(noise=0)(updates, context=AggregationContext(parameters=parameters))
    assert result.weight[[2, 5]].tolist() == [0, 0]


def test_what_is_missing_or_impossible_is_refused():
    with pytest.raises(ValueError, match="FLAME needs parameters"):
        FLAME()(torch.ones(3, 2))
    with pytest.raises(ValueError, match="convention must be 'paper' or 'zhmzm', got 'official'"):
        FLAME(convention="official")
    with pytest.raises(ValueError, match="noise must be a number >= 0, got -1"):
        FLAME(noise=-1)
