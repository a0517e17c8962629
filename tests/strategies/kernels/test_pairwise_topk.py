import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.kernels import (
    pair_candidates,
    pair_cells,
    pair_ends,
    pair_floors,
    pair_join,
    pair_search,
    pairwise_topk,
)
from hauberk.strategies.kernels.chunks import Mixture
from hauberk.strategies.kernels.pairwise_topk import strongest_squares
from tests.helpers.examples import examples

SMALL = (  # so that small matrices take the way of large ones, in many slices and parts
    (pairwise_topk, "_LEAST", 600),
    (pair_floors, "_SAMPLE", 512),
    (pair_floors, "_PART", 256),
    (pair_search, "_TILE", 1),
    (pair_search, "_FEWEST", 50),
    (pair_search, "_MOST", 200),
    (pair_candidates, "_MOST", 64),
    (pair_candidates, "_TOGETHER", 100),
    (pair_ends, "_TOGETHER", 7),
)
WAYS = {
    "by itself": (),
    "joined": ((pair_join, "_VALUE", 0), (pair_join, "_END", 1e-9), (pair_join, "_MEETING", 0)),
    "every difference": ((pair_join, "_END", 10**9),),
    "cut": ((pair_join, "_VALUE", 0), (pair_cells, "_SLOW", 0.0), (pair_cells, "_GAIN", 1e9)),
    "little memory": ((pair_join, "_VALUE", 0), (pair_search, "_KEPT", 1 / 60)),
}


@pytest.fixture
def way():
    """Sets up one of WAYS for small matrices."""
    with pytest.MonkeyPatch.context() as patch:

        def take(name):
            for module, constant, value in (*SMALL, *WAYS[name]):
                patch.setattr(module, constant, value)

        yield take


@pytest.fixture
def whole(monkeypatch):
    """The pairs that were done again from their whole difference."""
    again = []
    whole_sums = pair_search.whole_sums

    def note(updates, pairs, k, inverse):
        again.extend(pairs)
        return whole_sums(updates, pairs, k, inverse)

    monkeypatch.setattr(pair_search, "whole_sums", note)
    return again


def brute(updates, k, inverse=None):
    """What is to be found: from differences in the precision of the rows, squared and added in float64."""
    sums = torch.zeros(len(updates), len(updates), dtype=torch.float64)
    for p, row in enumerate(updates):
        differences = (updates - row).abs() * (1 if inverse is None else inverse)
        wide = differences.clamp(max=torch.finfo(updates.dtype).max).double()
        sums[p] = wide.topk(k, dim=1).values.square().sum(dim=1)
    return sums


def assert_exact(updates, k, inverse=None):
    expected = brute(updates, k, inverse)
    found = strongest_squares(updates, k, inverse)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    assert torch.equal(found, found.T)


def rows(kind, n, d, seed):
    rng = torch.Generator().manual_seed(seed)
    normal = torch.randn(n, d, generator=rng)
    column = torch.randn(d, generator=rng)
    few = torch.rand(n, d, generator=rng) < 3 / d
    first = slice(0, n // 3 + 1)
    match kind:
        case "heavy tails":
            return normal * column.mul(3).exp()
        case "cauchy":
            return normal / torch.randn(n, d, generator=rng).abs().clamp(min=1e-6)
        case "sparse":  # most differences are 0, as in an embedding whose rows few clients touch
            return normal * (torch.rand(d, generator=rng) < 0.05)
        case "fewer than k":
            return normal * few
        case "all but equal":  # nothing tells the rows' values from their thresholds
            return column + normal * few
        case "signs":  # every difference is 0 or 2: nothing but ties
            return normal.sign()
        case "few values":
            return normal.round()
        case "zeros":
            return normal * 0
        case "equal rows":
            normal[first] = normal[0].clone()
        case "some zero rows":
            normal[first] = 0
            normal[0] = -normal[0]  # and one of negative zeros
        case "sybils":
            normal[first] = normal[0] + 1e-3 * normal[first]
        case "two clusters":
            normal[first] += 100 * column
        case "scales":
            return normal * torch.logspace(-3, 3, n)[:, None]
        case "one huge row":
            normal[0] *= 1e30
        case "float32's edge":
            return (normal * 2e38).clamp(-3.4e38, 3.4e38)
        case "denormal":
            return normal * 1e-41
        case "offset":
            return 1e3 + normal
        case "one loud tensor":
            normal[:, : d // 50] *= 1e3
        case "float64":
            return normal.double() * (1 + 1e-12 * normal)
    return normal


KINDS = (
    *("gaussian", "heavy tails", "cauchy", "sparse", "fewer than k", "all but equal", "signs", "few values"),
    *("zeros", "equal rows", "some zero rows", "sybils", "two clusters", "scales", "one huge row"),
    *("float32's edge", "denormal", "offset", "one loud tensor", "float64"),
)


def test_a_hand_calculation():
    updates = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [0.0, -5.0, 1.0]])
    # Squared differences: 1 4 9, 0 25 1 and 1 49 4; the two largest of each.
    assert strongest_squares(updates, 2).tolist() == [[0, 13, 26], [13, 0, 53], [26, 53, 0]]


@given(st.sampled_from(KINDS), st.integers(1, 6), st.integers(1, 60), st.floats(0, 1), st.integers(0, 2**32))
def test_few_parameters_agree_with_brute_force(kind, n, d, ratio, seed):
    assert_exact(rows(kind, n, d, seed), max(1, int(ratio * d)))


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_search_is_exact(kind, name, way):
    way(name)
    assert_exact(rows(kind, 12, 1801, 1), 9)


@examples(20)
@given(
    st.sampled_from(KINDS),
    st.sampled_from(list(WAYS)),
    st.integers(1, 9),
    st.integers(600, 3000),
    st.integers(1, 15),
    st.integers(0, 2**32),
)
def test_a_search_agrees_with_brute_force(kind, name, n, d, k, seed):
    with pytest.MonkeyPatch.context() as patch:
        for module, constant, value in (*SMALL, *WAYS[name]):
            patch.setattr(module, constant, value)
        assert_exact(rows(kind, n, d, seed), min(k, d // 200))


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("spread", ["alike", "wide", "up to the edge"])
def test_scaled_differences_are_exact(spread, name, way):
    way(name)
    exponent = {"alike": 1, "wide": 6, "up to the edge": 80}[spread]
    inverse = torch.randn(1801, generator=torch.Generator().manual_seed(2)).mul(exponent).clamp(-87, 88).exp()
    assert_exact(rows("gaussian", 12, 1801, 1), 9, inverse)
    assert_exact(rows("offset", 12, 1801, 1), 9, inverse)


@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_any_number_of_rows(n, way):
    way("by itself")
    assert_exact(rows("gaussian", n, 5000, 3), 25)


@pytest.mark.parametrize("kind", ["gaussian", "heavy tails", "sparse", "one huge row", "offset", "sybils"])
@pytest.mark.parametrize("k", [1, 30, 300, 1500])
def test_a_large_matrix_needs_no_whole_difference(kind, k, whole):
    assert_exact(rows(kind, 5, 300_001, 1), k)
    assert not whole


@pytest.mark.parametrize("k", [1501, 30_000, 299_999, 300_000])
def test_many_of_a_large_matrix_are_exact(k):
    assert_exact(rows("heavy tails", 3, 300_000, 2), k)


@pytest.mark.parametrize("kind", ["zeros", "equal rows", "some zero rows", "signs", "all but equal"])
def test_ties_need_no_whole_difference(kind, whole, way):
    way("by itself")
    assert_exact(rows(kind, 14, 6000, 3), 20)
    assert not whole


def test_who_agrees_on_the_sampled_columns_alone_changes_nothing(whole, way):
    way("by itself")
    updates = rows("gaussian", 14, 6000, 4)
    places = pair_floors.sampled_columns(6000)
    updates[:, places] = updates[:1, places]
    assert_exact(updates, 20)
    assert not whole


def test_who_differs_on_the_sampled_columns_above_all_costs_whole_differences(whole, way):
    way("by itself")
    updates = rows("gaussian", 14, 200_000, 5)
    updates[0, pair_floors.sampled_columns(200_000)] *= 1e3
    assert_exact(updates, 1000)
    assert sorted(map(sorted, whole)) == [[0, q] for q in range(1, 14)]


@pytest.mark.parametrize("kind", ["gaussian", "sybils", "few values"])
def test_the_bits_depend_neither_on_threads_nor_on_the_order_of_rows(kind, way):
    way("little memory")
    updates = rows(kind, 12, 2400, 6)
    expected = strongest_squares(updates, 12)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(strongest_squares(updates[order], 12), expected[order][:, order])
    torch.set_num_threads(3)
    try:
        assert torch.equal(strongest_squares(updates, 12), expected)
    finally:
        torch.set_num_threads(1)


def test_an_error_in_a_thread_is_raised(way, monkeypatch):
    way("by itself")
    monkeypatch.setattr(pair_search, "Scratch", lambda: 1 / 0)
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            strongest_squares(rows("gaussian", 14, 6000, 6), 20)
    finally:
        torch.set_num_threads(1)


def test_rows_of_half_precision_are_widened_first(way):
    way("by itself")
    updates = rows("gaussian", 14, 6000, 7).bfloat16()
    assert torch.equal(strongest_squares(updates, 20), strongest_squares(updates.float(), 20))


def test_mixed_rows_are_searched_without_a_matrix_of_their_own(way):
    way("by itself")
    updates = rows("gaussian", 14, 6000, 8)
    mixing = torch.softmax(torch.randn(14, 14, generator=torch.Generator().manual_seed(0)), dim=1)
    mixing[1] = mixing[0]
    mixture = Mixture(updates, mixing)
    expected = brute(mixture.matrix().double(), 20)
    torch.testing.assert_close(strongest_squares(mixture, 20), expected, rtol=1e-5, atol=1e-9)
