"""Bucketing, clip and ARC: rows in, rows out, alone and before a rule."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import (
    ARC,
    AggregationContext,
    Bucketing,
    Clip,
    FedAvg,
    Krum,
    Median,
    TrimmedMean,
    chain,
)

LINE = torch.tensor([[3.0, 4.0], [0.0, 1.0], [-6.0, 8.0], [0.0, -20.0]])  # norms 5 1 10 20


def random_rows(n, d, seed):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)).mul(2).exp()


def test_clip_by_hand():
    assert Clip(threshold=5)(LINE).flatten().tolist() == pytest.approx([3, 4, 0, 1, -3, 4, 0, -5])


def test_arc_by_hand():
    # With n=4 and f=1 the floor(2 / 4 * 3) = 1 longest is cut to the next, with norm 10.
    found = ARC(n_malicious=1)(LINE).flatten().tolist()
    assert found == pytest.approx([3, 4, 0, 1, -6, 8, 0, -10])
    assert torch.equal(ARC(n_malicious=0)(LINE), LINE)
    byzfls = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    found = ARC(n_malicious=1)(byzfls)
    torch.testing.assert_close(found[2], torch.tensor([4.41004009, 5.04004582, 5.67005155]))


def test_bucketing_by_hand():
    updates = torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0]])
    mixing = Bucketing(size=2).mixing(updates, AggregationContext(round=3))
    assert mixing.sum(dim=1).tolist() == [1, 1, 1]
    assert sorted(mixing.max(dim=1).values.tolist()) == [0.5, 0.5, 1]
    assert (mixing > 0).sum(dim=0).tolist() == [1] * 5
    rows = Bucketing(size=2)(updates, context=AggregationContext(round=3))
    torch.testing.assert_close(rows.double(), mixing @ updates.double())
    assert Bucketing(size=5)(updates).flatten().tolist() == pytest.approx([6.2])
    assert sorted(Bucketing(size=1)(updates).flatten().tolist()) == [1, 2, 4, 8, 16]


def test_buckets_are_drawn_anew_from_the_cohorts_generator():
    updates = torch.arange(30.0)[:, None]
    drawn = {
        tuple(Bucketing()(updates, context=AggregationContext(round=r)).flatten().tolist()) for r in range(20)
    }
    assert len(drawn) == 20
    again = [
        Bucketing()(updates, context=AggregationContext(rng=torch.Generator().manual_seed(7)))
        for _ in range(2)
    ]
    assert torch.equal(*again)


def test_a_bucket_holds_clients_and_not_rows():
    updates = torch.arange(9.0)[:, None]
    order = [4, 2, 8, 0, 6, 1, 3, 5, 7]
    straight = Bucketing(size=3)(updates, context=AggregationContext(client_ids=tuple(range(9)), round=5))
    shuffled = Bucketing(size=3)(updates[order], context=AggregationContext(client_ids=tuple(order), round=5))
    torch.testing.assert_close(shuffled, straight)


@given(st.integers(1, 15), st.integers(1, 30), st.floats(0.01, 99), st.integers(0, 2**32))
def test_clip_agrees_with_brute_force(n, d, threshold, seed):
    updates = random_rows(n, d, seed)
    wide = updates.double().numpy()
    norms = np.linalg.norm(wide, axis=1, keepdims=True)
    found = Clip(threshold=threshold)(updates)
    np.testing.assert_allclose(found, wide * np.minimum(1, threshold / norms), rtol=2e-5)


@given(st.integers(0, 6), st.integers(1, 6), st.integers(1, 30), st.integers(0, 2**32))
def test_arc_agrees_with_brute_force(f, extra, d, seed):
    n = 2 * f + extra
    updates = random_rows(n, d, seed)
    wide = updates.double().numpy()
    norms = np.linalg.norm(wide, axis=1)
    longest = np.argsort(-norms, kind="stable")[: 2 * f * (n - f) // n]
    bound = np.sort(np.delete(norms, longest))[-1]
    wide[longest] *= (bound / norms[longest])[:, None]
    np.testing.assert_allclose(ARC(n_malicious=f)(updates), wide, rtol=2e-5)


@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 20), st.integers(0, 2**32))
def test_bucketing_agrees_with_brute_force(n, size, round_, seed):
    updates = random_rows(n, 8, seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(round_)).tolist()
    buckets = [order[start : start + size] for start in range(0, n, size)]
    expected = np.stack([updates.double().numpy()[bucket].mean(axis=0) for bucket in buckets])
    found = Bucketing(size=size)(updates, context=AggregationContext(round=round_))
    np.testing.assert_allclose(found, expected, rtol=2e-5)


@pytest.mark.parametrize("scale", [1e10, 1e30, 3e38])
def test_huge_rows_keep_their_direction(scale):
    updates = 1e-8 * torch.randn(9, 500, generator=torch.Generator().manual_seed(0))
    updates[3] *= 1 / updates[3].abs().max()
    updates[3] *= scale
    direction = updates[3].double() / updates[3].double().norm()
    norms = updates.double().norm(dim=1)
    bound = float(norms.sort().values[5])  # ARC cuts the floor(4 * 7 / 9) = 3 longest to the next
    for rows in (Clip(threshold=bound)(updates), ARC(n_malicious=2)(updates)):
        torch.testing.assert_close(rows[3].double(), bound * direction, rtol=1e-5, atol=0)
        torch.testing.assert_close(rows[norms.argmin()], updates[norms.argmin()])


@pytest.mark.parametrize("rule", [FedAvg(), Median(), TrimmedMean(n_malicious=1), Krum(n_malicious=1)])
def test_a_chain_of_them_is_one_after_the_other(rule):
    updates = torch.randn(12, 70_000, generator=torch.Generator().manual_seed(0))
    updates[2] *= 1e6
    stages = ARC(n_malicious=1), Bucketing(size=2), Clip(threshold=150.0)
    rows = stages[2](stages[1](stages[0](updates), context=AggregationContext(round=2)))
    result = chain(*stages, rule)(updates, context=AggregationContext(round=2))
    torch.testing.assert_close(result.update, rule(rows).update, rtol=1e-5, atol=1e-6)


def test_the_rule_after_bucketing_has_fewer_rows():
    with pytest.raises(ValueError, match=r"Krum needs .*f=2 and n_clients=5"):
        chain(Bucketing(), Krum(n_malicious=2)).check(10)
    chain(Bucketing(), Krum(n_malicious=1)).check(10)
    result = chain(Bucketing(), Krum(n_malicious=1))(torch.randn(10, 4))
    assert sorted(result.weight.tolist())[-3:] == [0, 0.5, 0.5]


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match=r"^ARC needs 2f < n_clients, got f=3 and n_clients=6\.$"):
        ARC(n_malicious=3)(torch.zeros(6, 2))
    with pytest.raises(ValueError, match=r"Bucketing\.size must be a whole number >= 1, got 0"):
        Bucketing(size=0)
