from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext, DimKrum, chain, layout_of, needs_of
from hauberk.strategies.kernels.robust_scale import robust_sigma, strongest_columns
from hauberk.strategies.kernels.selections import (
    SELECTIONS,
    dimension_distances,
    selection_ranks,
    selection_scores,
)
from hauberk.strategies.pre_aggregators.nnm import NNM


def layout(*sizes):
    return layout_of({f"tensor{place}": torch.zeros(size) for place, size in enumerate(sizes)})


def rows(kind, n, d, seed):
    rng = torch.Generator().manual_seed(seed)
    normal = torch.randn(n, d, generator=rng) * torch.randn(d, generator=rng).exp()
    if kind == "sparse":  # a word table whose rows few clients touch
        normal *= torch.rand(n, d, generator=rng) > 0.7
    if kind == "twins":
        normal[n // 2 :] = normal[: n - n // 2].clone()
    if kind == "offset":
        normal += 100
    return normal


def brute_sigma(wide, cuts):
    mads = np.median(np.abs(wide - np.median(wide, axis=0)), axis=0)
    floors = np.empty_like(mads)
    for start, stop in pairwise(cuts):
        usual = np.median(mads[start:stop])
        for fallback in (mads[start:stop], mads):
            positive = fallback[fallback > 0]
            if usual == 0 and len(positive):
                usual = np.median(positive)
        floors[start:stop] = 1e-3 * usual if usual else 1.0
    return 1.4826 * mads + floors


def brute(updates, ratio, selection, cuts):
    wide = updates.double().numpy()
    n, d = wide.shape
    k = max(1, int(ratio * d))
    sigma = brute_sigma(wide, cuts)
    common = strongest_columns(updates, k, layout(*np.diff(cuts).tolist())).numpy()
    strength = np.abs(wide - np.median(wide, axis=0)).max(axis=0) / sigma
    # Which columns: whatever ours are, none that was left out is stronger (many tie where n is 2).
    assert np.delete(strength, common).max(initial=0) <= strength[common].min() * (1 + 1e-6)
    assert len(set(common.tolist())) == k
    distances = np.zeros((n, n))
    for p in range(n):
        for q in range(n):
            squares = (wide[p] - wide[q]) ** 2
            if selection == "pairwise":
                distances[p, q] = np.sort(squares)[-k:].sum()
            elif selection == "global":
                distances[p, q] = squares[common].sum()
            elif selection == "z":
                distances[p, q] = np.sort(squares / sigma**2)[-k:].sum()
            elif selection == "full":
                distances[p, q] = (squares / sigma**2).sum()
            else:
                for start, stop in pairwise(cuts):
                    own = max(1, int(ratio * (stop - start)))
                    distances[p, q] += np.sort(squares[start:stop])[-own:].sum()
    return torch.from_numpy(distances)


@pytest.mark.parametrize("selection", SELECTIONS)
@given(
    st.sampled_from(("normal", "sparse", "twins", "offset")),
    st.integers(2, 6),
    st.integers(1, 30),
    st.integers(1, 30),
    st.floats(1e-3, 1),
    st.integers(0, 2**32),
)
def test_every_selection_agrees_with_brute_force(selection, kind, n, first, second, ratio, seed):
    updates = rows(kind, n, first + second, seed)
    found = dimension_distances(updates, ratio, selection, layout(first, second))
    expected = brute(updates, ratio, selection, [0, first, first + second])
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=0)


def test_a_hand_calculation():
    # Columns: medians 0, 0, 0, deviations (1 1 0 1 1), (2 0 0 0 9), (0 0 0 0 5); MADs 1, 0, 0.
    updates = torch.tensor([[-1.0, 2, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0], [-1, -9, 5]])
    # The median MAD of the row is 0, so that the floor is a thousandth of the only positive one.
    torch.testing.assert_close(robust_sigma(updates), torch.tensor([1.4836, 0.001, 0.001]))
    torch.testing.assert_close(robust_sigma(updates, layout(1, 2)), torch.tensor([1.4836, 0.001, 0.001]))
    assert strongest_columns(updates, 1).tolist() == [1]
    assert strongest_columns(updates, 2).tolist() == [1, 2]
    assert dimension_distances(updates, 0.34, "global")[0].tolist() == [0, 4, 4, 4, 121]
    assert dimension_distances(updates, 0.34, "pairwise")[0].tolist() == [0, 4, 4, 4, 121]
    assert dimension_distances(updates, 0.67, "per_tensor", layout(1, 2))[0].tolist() == [0, 8, 5, 8, 121]
    full = dimension_distances(updates, 1.0, "full")
    assert full[0, 2] == pytest.approx(1 / 1.4836**2 + 2000**2)
    assert torch.equal(dimension_distances(updates, 1.0, "z"), full)


def test_without_any_spread_every_coordinate_counts_alike():
    updates = torch.zeros(5, 4)
    updates[4] = torch.tensor([0.0, 1.0, 2.0, 3.0])
    assert robust_sigma(updates).tolist() == [1, 1, 1, 1]
    assert dimension_distances(updates, 1.0, "full")[0, 4] == 14


@pytest.mark.parametrize("selection", SELECTIONS)
def test_many_slices(selection):
    updates = rows("sparse", 6, 140_000, 3)
    cuts = layout(100_000, 39_000, 1000)
    expected = brute(updates, 1e-3, selection, [0, 100_000, 139_000, 140_000])
    torch.testing.assert_close(
        dimension_distances(updates, 1e-3, selection, cuts), expected, rtol=2e-5, atol=0
    )


def test_z_by_floors_and_by_whole_differences_is_the_same():
    updates = rows("normal", 4, 300_000, 4)
    expected = brute(updates, 1e-3, "z", [0, 300_000])
    torch.testing.assert_close(dimension_distances(updates, 1e-3, "z"), expected, rtol=2e-5, atol=0)


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize("scale", [1e10, 1e30, 1e38])
def test_a_huge_row_hides_nobody(selection, scale):
    updates = 1e-3 * rows("normal", 10, 4000, 5)
    updates[7, :2000] += 0.05
    updates[2] *= 1 / updates[2].abs().max()
    updates[2] *= scale
    ranks = selection_ranks(updates, 2, ratio=0.05, layout=layout(3000, 1000), selections=(selection,))
    assert set(ranks[selection][[2, 7]].tolist()) == {8, 9}
    result = DimKrum(n_malicious=2, ratio=0.05, selection=selection)(
        updates, context=AggregationContext(layout=layout(4000))
    )
    assert result.weight[[2, 7]].tolist() == [0, 0]
    kept = updates.double()[result.weight > 0]
    torch.testing.assert_close(result.update.double(), kept.mean(dim=0), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_mixed_rows_are_compared_as_their_matrix_is(selection):
    updates = rows("normal", 7, 900, 6)
    mixed = NNM(n_malicious=1).mix(updates, AggregationContext())
    found = dimension_distances(mixed, 0.1, selection, layout(500, 400))
    expected = dimension_distances(mixed.matrix(), 0.1, selection, layout(500, 400))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    rule = DimKrum(n_malicious=1, ratio=0.1, selection=selection)
    assert (
        chain(NNM(n_malicious=1), rule)(updates, context=AggregationContext(layout=layout(900)))
        .update.isfinite()
        .all()
    )


def test_one_call_ranks_every_client_under_all_selections():
    updates = rows("normal", 8, 200, 7)
    updates[5] += 30
    ranks = selection_ranks(updates, 1, ratio=0.05, layout=layout(150, 50))
    assert tuple(ranks) == SELECTIONS
    for rank in ranks.values():
        assert sorted(rank.tolist()) == list(range(8))
        assert rank[5] == 7
    scores = selection_scores(updates, 1, ratio=0.05, layout=layout(150, 50))
    for selection in SELECTIONS:
        rule = DimKrum(n_malicious=1, ratio=0.05, selection=selection)
        report = rule(updates, context=AggregationContext(layout=layout(150, 50))).report
        assert [report[f"dim_krum/score/{client}"] for client in range(8)] == scores[selection].tolist()


def test_what_needs_a_layout_says_so():
    assert needs_of(DimKrum(n_malicious=1, selection="per_tensor")) == {"layout"}
    assert needs_of(DimKrum(n_malicious=1)) == frozenset()
    with pytest.raises(ValueError, match="DimKrum needs layout"):
        DimKrum(n_malicious=1, selection="per_tensor")(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="DimKrum needs a layout of 3 parameters, got 4"):
        DimKrum(n_malicious=1, selection="full")(
            torch.zeros(5, 3), context=AggregationContext(layout=layout(4))
        )
    with pytest.raises(ValueError, match="'per_tensor' needs a layout"):
        selection_scores(torch.zeros(5, 3), 1)
