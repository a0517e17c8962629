import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import (
    AGGREGATORS,
    NNM,
    AggregationContext,
    Krum,
    MultiKrum,
    chain,
    layout_of,
    needs_of,
)
from hauberk.strategies.aggregators._krum_conventions import CONVENTIONS
from hauberk.strategies.kernels.distances import squared_distances
from hauberk.strategies.kernels.krum_scores import krum_scores


def brute_scores(updates, f):
    wide = updates.double()
    scores = []
    for i, row in enumerate(wide):
        others = [float((row - wide[j]).square().sum()) for j in range(len(wide)) if j != i]
        scores.append(sum(sorted(others)[: len(wide) - f - 2]))
    return torch.tensor(scores, dtype=torch.float64)


def random_rows(n, d, seed, kind):
    rng = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, d, generator=rng)
    if kind == "ties":
        return rows.round()
    return rows.mul(3).exp() if kind == "heavy" else rows


cases = given(
    st.integers(0, 4),
    st.integers(0, 6),
    st.integers(1, 40),
    st.integers(0, 2**32),
    st.sampled_from(["normal", "heavy", "ties"]),
)


def test_scores_match_a_hand_calculation():
    # On a line at 0, 1, 3, 10 with f=0, each score sums its n - f - 2 = 2 nearest squared gaps.
    updates = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
    assert krum_scores(squared_distances(updates), 0).tolist() == [10.0, 5.0, 13.0, 130.0]
    result = Krum(n_malicious=0)(updates, context=AggregationContext(client_ids=(5, 6, 7, 8)))
    assert result.update.tolist() == [1.0]
    assert result.weight.tolist() == [0, 1, 0, 0]
    assert result.report["krum/score/6"] == 5.0


def test_multi_krum_averages_the_lowest():
    updates = torch.tensor([[0.0], [1.0], [3.0], [10.0]])
    assert MultiKrum(n_malicious=0, n_selected=2)(updates).update.tolist() == [0.5]
    assert MultiKrum(n_malicious=0)(updates).update.tolist() == [3.5]


def test_equal_rows_are_neighbours_at_distance_0():
    updates = torch.tensor([[1.0], [1.0], [1.0], [9.0], [5.0]])
    assert krum_scores(squared_distances(updates), 1).tolist() == [0, 0, 0, 80.0, 32.0]


@cases
def test_krum_agrees_with_brute_force(f, extra, d, seed, kind):
    updates = random_rows(2 * f + 3 + extra, d, seed, kind)
    expected = brute_scores(updates, f)
    result = Krum(n_malicious=f)(updates)
    found = torch.tensor(list(result.report.values()), dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)
    chosen = int(result.weight.argmax())
    assert expected[chosen] <= expected.min() * (1 + 1e-6) + 1e-12
    assert torch.equal(result.update, updates[chosen])


@cases
def test_multi_krum_agrees_with_brute_force(f, extra, d, seed, kind):
    n = 2 * f + 3 + extra
    updates = random_rows(n, d, seed, kind)
    expected = brute_scores(updates, f)
    result = MultiKrum(n_malicious=f)(updates)
    kept = result.weight > 0
    assert int(kept.sum()) == n - f
    if f:
        assert expected[kept].max() <= expected[~kept].min() * (1 + 1e-6) + 1e-12
    torch.testing.assert_close(
        result.update.double(), updates.double()[kept].mean(dim=0), rtol=2e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", ["krum", "multi_krum", "dim_krum"])
@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_one_huge_row_does_not_hide_the_other_attacker(name, scale):
    rng = torch.Generator().manual_seed(3)
    updates = torch.randn(10, 20_000, generator=rng)
    updates[4] *= scale
    updates[7] += 0.5 * torch.randn(20_000, generator=rng)
    result = AGGREGATORS[name](n_malicious=2)(updates)
    assert result.weight[4] == 0
    assert result.weight[7] == 0
    kept = result.weight > 0
    torch.testing.assert_close(result.update, updates[kept].mean(dim=0), rtol=1e-6, atol=1e-6)


def test_near_equal_weights_pick_the_right_clients():
    # The case float32 products get wrong: weights of std .05, updates of std 1e-5.
    rng = torch.Generator().manual_seed(0)
    deviation = torch.randn(10, 40_000, generator=rng) * torch.linspace(1, 2, 10)[:, None]
    updates = 0.05 * torch.randn(40_000, generator=rng) + 1e-5 * deviation
    result = MultiKrum(n_malicious=2, n_selected=4)(updates)
    assert result.weight.nonzero().squeeze(1).tolist() == [0, 1, 2, 3]
    assert brute_scores(updates, 2).argsort()[:4].sort().values.tolist() == [0, 1, 2, 3]


def brute_convention(updates, f, name, layout):
    """The peers' scores, pair by pair."""
    wide = updates.double()
    n = len(wide)
    left_out = {"byzfl": 1, "flpoison": 1}.get(name, 2)
    scores = []
    for i in range(n):
        pairs = []
        for j in range(n):
            gaps = (wide[i] - wide[j]).square()
            whole = float(gaps.sum())
            parts = sum(float(gaps[slot.slice].sum()) ** 0.5 for slot in layout)
            pairs.append(
                {"flpoison": whole**0.5, "epfml": whole**2, "federated_scope": parts}.get(name, whole)
            )
        scores.append(sum(sorted(pairs[:i] + pairs[i + 1 :])[: n - f - left_out]))
    return torch.tensor(scores, dtype=torch.float64)


@given(
    st.sampled_from(sorted(CONVENTIONS)),
    st.integers(0, 4),
    st.integers(0, 6),
    st.integers(2, 40),
    st.integers(0, 2**32),
)
def test_every_convention_agrees_with_brute_force(name, f, extra, d, seed):
    updates = random_rows(2 * f + 3 + extra, d, seed, "normal")
    layout = layout_of({"a": updates[0, :1], "b": updates[0, 1:]})
    context = AggregationContext(layout=layout)
    expected = brute_convention(updates, f, name, layout)
    result = Krum(n_malicious=f, convention=name)(updates, context=context)
    found = torch.tensor(list(result.report.values()), dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)
    several = MultiKrum(n_malicious=f, n_selected=2, convention=name)(updates, context=context)
    total = updates.double()[several.weight > 0].sum(dim=0)
    expected = total if name == "epfml" else total / 2
    torch.testing.assert_close(several.update.double(), expected, rtol=2e-5, atol=1e-6)


def test_conventions_disagree_about_whom_to_believe():
    updates = torch.randn(300, 11, 6, generator=torch.Generator().manual_seed(0))
    papers = [int(Krum(n_malicious=3)(rows).weight.argmax()) for rows in updates]
    for name in ("byzfl", "flpoison", "epfml"):
        rule = Krum(n_malicious=3, convention=name)
        others = sum(int(rule(rows).weight.argmax()) != p for rows, p in zip(updates, papers, strict=True))
        assert 0.05 < others / 300 < 0.25


def test_distances_by_tensor_need_the_layout():
    rule = Krum(n_malicious=0, convention="federated_scope")
    assert needs_of(rule) == {"layout"}
    assert needs_of(Krum(n_malicious=0)) == frozenset()
    updates = torch.tensor([[0.0, 0.0], [3.0, 4.0], [9.0, 9.0]])
    layout = layout_of({"a": torch.zeros(1), "b": torch.zeros(1)})
    result = rule(updates, context=AggregationContext(layout=layout))
    assert list(result.report.values()) == pytest.approx([7, 7, 11])
    mixed = chain(NNM(n_malicious=0), rule)(updates, context=AggregationContext(layout=layout))
    assert mixed.update.tolist() == pytest.approx([4, 13 / 3])
    with pytest.raises(ValueError, match=r"Krum with .* layout of its 2 columns, got none"):
        rule(updates)
    with pytest.raises(ValueError, match=r"MultiKrum with .* layout of its 2 columns, got one of 1"):
        MultiKrum(n_malicious=0, convention="federated_scope")(
            updates, context=AggregationContext(layout=layout_of({"a": torch.zeros(1)}))
        )
    with pytest.raises(ValueError, match=r"Krum\.convention must be one of 'paper', .*, got 'flower'"):
        Krum(n_malicious=0, convention="flower")


def test_a_tie_goes_to_the_lowest_client_id():
    updates = torch.tensor([[0.0], [1.0], [5.0]])  # with one neighbour 0 and 1 tie
    assert Krum(n_malicious=0)(updates).update.tolist() == [0.0]
    assert Krum(n_malicious=0)(updates, context=AggregationContext(client_ids=(9, 4, 5))).update.tolist() == [
        1.0
    ]


def test_too_few_clients_are_refused_with_the_numbers():
    with pytest.raises(ValueError, match=r"^Krum needs 2f \+ 2 < n_clients, got f=2 and n_clients=6\.$"):
        Krum(n_malicious=2)(torch.zeros(6, 3))
    with pytest.raises(ValueError, match="n_selected=8 and n_clients=7"):
        MultiKrum(n_malicious=2, n_selected=8)(torch.zeros(7, 3))
    with pytest.raises(ValueError, match="n_selected must be a whole number >= 1, got 0"):
        MultiKrum(n_malicious=2, n_selected=0)


def test_client_ids_may_be_flowers_unsigned_64_bit_numbers():
    ids = tuple(2**64 - 1 - k for k in range(7))
    updates = torch.zeros(7, 3)  # all scores tie: the lowest id wins
    assert Krum(n_malicious=1)(updates, context=AggregationContext(client_ids=ids)).weight.argmax() == 6
