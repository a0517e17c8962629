import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext, DimKrum, MultiKrum
from tests.helpers.examples import examples

IDS = (11, 12, 13, 14, 15)


def brute_scores(updates, f, ratio):
    wide = updates.double().numpy()
    n, d = wide.shape
    k = max(1, int(np.floor(ratio * d)))
    scores = []
    for p in range(n):
        distances = [np.sort((wide[p] - wide[q]) ** 2)[::-1][:k].sum() for q in range(n) if q != p]
        scores.append(sum(sorted(distances)[: n - f - 2]))
    return torch.tensor(scores, dtype=torch.float64)


def memory(result):
    return result.state["memory"]


def scores(result):
    return {
        key.rpartition("/")[2]: v for key, v in result.report.items() if key.startswith("dim_krum/score/")
    }


def test_a_hand_calculation():
    # With k = 1 of 4 the squared distances from 0: 1, 4, 9, 100; each score sums n - f - 2 = 2 of them.
    updates = torch.zeros(5, 4)
    updates[:, 0] = torch.tensor([0.0, 1.0, 2.0, 3.0, 10.0])
    updates[:, 1] = 0.5
    result = DimKrum(n_malicious=1, ratio=0.25, memory=0)(updates, context=AggregationContext(client_ids=IDS))
    assert scores(result) == {"11": 5.0, "12": 2.0, "13": 2.0, "14": 5.0, "15": 113.0}
    assert memory(result) == {"11": 1.0, "12": 0.4, "13": 0.4, "14": 1.0, "15": 22.6}
    assert result.weight.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0, 0])
    assert result.update.tolist() == pytest.approx([1.0, 0.5, 0.0, 0.0])


@given(st.integers(0, 3), st.integers(0, 5), st.integers(1, 60), st.floats(1e-4, 1), st.integers(0, 2**32))
def test_agrees_with_brute_force(f, extra, d, ratio, seed):
    n = 2 * f + 3 + extra
    updates = torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).mul(2).exp()
    expected = brute_scores(updates, f, ratio)
    result = DimKrum(n_malicious=f, ratio=ratio)(updates)
    torch.testing.assert_close(
        torch.tensor(list(scores(result).values()), dtype=torch.float64), expected, rtol=1e-6, atol=0
    )
    kept = result.weight > 0
    assert int(kept.sum()) == n // 2 + 1
    assert expected[kept].max() <= expected[~kept].min() * (1 + 1e-6)
    torch.testing.assert_close(result.update.double(), updates.double()[kept].mean(dim=0), rtol=2e-5, atol=0)


@examples(20)
@given(st.integers(0, 3), st.integers(0, 6), st.integers(1, 50), st.integers(0, 2**32))
def test_all_dimensions_without_memory_and_noise_are_multi_krum(f, extra, d, seed):
    n = 2 * f + 3 + extra
    updates = torch.randn(n, d, generator=torch.Generator().manual_seed(seed))
    dim_krum = DimKrum(n_malicious=f, ratio=1, memory=0, noise=0)(updates)
    multi_krum = MultiKrum(n_malicious=f, n_selected=n // 2 + 1)(updates)
    assert torch.equal(dim_krum.update, multi_krum.update)
    assert torch.equal(dim_krum.weight, multi_krum.weight)


def test_memory_is_an_average_that_starts_with_the_first_score():
    rule = DimKrum(n_malicious=1, ratio=1, memory=0.75)
    first = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]])
    context = AggregationContext(client_ids=IDS)
    one = rule(first, context=context)
    two = rule(torch.tensor([[0.0], [1.0], [2.0], [3.0], [40.0]]), context=context, state=one.state)
    # Scores 5 2 2 2 5, then 5 2 2 5 1406: the medians are 2 and 5.
    assert memory(one) == {"11": 2.5, "12": 1, "13": 1, "14": 1, "15": 2.5}
    expected = {"11": 2.125, "12": 0.85, "13": 0.85, "14": 1, "15": 0.75 * 2.5 + 0.25 * (37**2 + 38**2) / 5}
    assert memory(two) == pytest.approx(expected)


def test_memory_does_not_depend_on_how_large_the_updates_are():
    rows = torch.randn(5, 20, generator=torch.Generator().manual_seed(0))
    rule = DimKrum(n_malicious=1)
    assert memory(rule(rows)) == memory(rule(rows / 1024))


def test_equal_rows_have_no_unit_and_the_odd_one_is_remembered_all_the_same():
    agreed = torch.tensor([[1.0]] * 4 + [[3.0]])
    assert list(memory(DimKrum(n_malicious=1)(agreed)).values()) == [0, 0, 0, 0, 1]
    assert set(memory(DimKrum(n_malicious=1)(agreed[:1].expand(5, 1))).values()) == {0}


def rounds_kept(rule, seed, *, n_clients=20, n_asked=10, first=10, last=25, shrink=0.8):
    """Whether the rule keeps client 0 in each round in which it lies: from ``first`` on, when it is asked."""
    rng, state, kept = torch.Generator().manual_seed(seed), None, []
    for number in range(1, last + 1):
        ids = torch.randperm(n_clients, generator=rng)[:n_asked].sort().values.tolist()
        rows = torch.randn(n_asked, 200, generator=rng)
        lies = 0 in ids and number >= first
        rows[0, :4] += 6.0 if lies else 0.0
        result = rule(shrink**number * rows, context=AggregationContext(client_ids=tuple(ids)), state=state)
        state, kept = result.state, kept + [bool(result.weight[0] > 0)] * lies
    return kept


def test_a_late_liar_among_shrinking_updates_is_kept_out_whoever_was_asked_when(monkeypatch):
    rule = DimKrum(n_malicious=1, ratio=0.02)

    def share_kept():
        kept = [one for seed in range(5) for one in rounds_kept(rule, seed)]
        return sum(kept) / len(kept)

    assert share_kept() == 0
    # What the memory was before its scores were divided by the round's median.
    monkeypatch.setattr("hauberk.strategies.aggregators.dim_krum.relative_scores", lambda scores: scores)
    assert share_kept() == 0.75


def test_memory_follows_the_client_and_outlives_its_absence():
    rule = DimKrum(n_malicious=1, ratio=1, memory=0.9)
    liar = torch.tensor([[0.0], [1.0], [2.0], [3.0], [50.0]])
    one = rule(liar, context=AggregationContext(client_ids=IDS))
    # The liar is away; a newcomer starts with its own score.
    two = rule(
        liar[:5] * 0 + liar[:1], context=AggregationContext(client_ids=(11, 12, 13, 14, 99)), state=one.state
    )
    assert memory(two)["15"] == memory(one)["15"]
    assert memory(two)["99"] == 0
    # It comes back in the first row, behaves, and is still not believed.
    honest = torch.tensor([[2.0], [1.0], [2.0], [3.0], [4.0]])
    three = rule(honest, context=AggregationContext(client_ids=(15, 12, 13, 14, 99)), state=two.state)
    assert three.weight[0] == 0
    assert rule(honest).weight[0] > 0
    assert json.loads(json.dumps(three.state)) == three.state


def test_noise_is_adaptive_per_coordinate():
    d = 20_000
    updates = torch.zeros(7, 2 * d)
    updates[:, :d] = 0.1 * torch.arange(7.0)[:, None]
    rule = DimKrum(n_malicious=1, ratio=1, noise=2.0)
    result = rule(updates, context=AggregationContext(round=4))
    kept = updates[result.weight > 0]
    difference = result.update - kept.mean(dim=0)
    # The mean of n_kept noises of std 2 * std(kept) each; none where all agree.
    expected = 2.0 * kept[:, 0].std(correction=0) / len(kept) ** 0.5
    assert difference[:d].std() == pytest.approx(float(expected), rel=0.05)
    assert difference[:d].mean().abs() < 4 * expected / d**0.5
    assert difference[d:].abs().max() < 1e-6


def test_noise_comes_from_the_cohort_alone():
    updates = torch.randn(7, 50, generator=torch.Generator().manual_seed(0))
    rule = DimKrum(n_malicious=1, noise=1.0)

    def update(seed):
        return rule(updates, context=AggregationContext(rng=torch.Generator().manual_seed(seed))).update

    assert torch.equal(update(1), update(1))
    assert not torch.equal(update(1), update(2))
    assert torch.equal(rule(updates, context=AggregationContext(round=5)).update, update(5))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"ratio": 0}, "ratio must be a number > 0 and <= 1, got 0"),
        ({"ratio": 1.5}, "ratio"),
        ({"ratio": float("nan")}, "ratio"),
        ({"memory": 1}, "memory must be a number >= 0 and < 1, got 1"),
        ({"memory": "0.9"}, "memory"),
        ({"noise": -1}, "noise must be a number >= 0, got -1"),
        ({"selection": "pairwize"}, "selection must be one of .'pairwise', .*'full'., got 'pairwize'"),
    ],
)
def test_impossible_settings_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        DimKrum(n_malicious=1, **setting)


def test_too_few_clients_are_refused_with_both_numbers():
    with pytest.raises(ValueError, match=r"DimKrum needs 2f \+ 2 < n_clients, got f=2 and n_clients=6"):
        DimKrum(n_malicious=2)(torch.zeros(6, 3))


@pytest.mark.parametrize("ids", [(1, 2, 3), (1, 1, 2, 3, 4)])
def test_ids_that_do_not_fit_the_rows_are_refused(ids):
    with pytest.raises(ValueError, match="one distinct client id for each row"):
        DimKrum(n_malicious=1)(torch.zeros(5, 3), context=AggregationContext(client_ids=ids))
