from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import (
    NNM,
    Aggregation,
    AggregationContext,
    Bucketing,
    Chain,
    DimKrum,
    FedAvg,
    FoolsGold,
    Krum,
    Median,
    MoNNA,
    PreAggregator,
    chain,
    check,
    needs_of,
)


@dataclass(frozen=True)
class Pairs(PreAggregator):
    """Averages neighbouring rows, so that half as many come out."""

    def n_rows(self, n_clients):
        return n_clients // 2

    def mixing(self, updates, context):
        return torch.eye(len(updates) // 2, dtype=torch.float64).repeat_interleave(2, dim=1) / 2


class Stranger:
    """A rule from elsewhere: only the call, and tensors only."""

    def __call__(self, updates, *, context=None, state=None):
        assert isinstance(updates, torch.Tensor)
        return Aggregation(updates.mean(dim=0))


def brute_nnm(updates, f):
    wide = updates.double()
    mixed = []
    for row in wide:
        nearest = (wide - row).square().sum(dim=1).argsort()[: len(wide) - f]
        mixed.append(wide[nearest].mean(dim=0))
    return torch.stack(mixed)


def test_nnm_by_hand():
    updates = torch.tensor([[0.0], [1.0], [3.0], [100.0]])
    assert NNM(n_malicious=1)(updates).squeeze(1).tolist() == pytest.approx([4 / 3, 4 / 3, 4 / 3, 104 / 3])


def test_nnm_without_malicious_clients_is_the_mean():
    updates = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(NNM(n_malicious=0)(updates), updates.mean(dim=0).expand(5, -1))


@given(st.integers(0, 4), st.integers(1, 6), st.integers(1, 40), st.integers(0, 2**32))
def test_nnm_agrees_with_brute_force(f, extra, d, seed):
    updates = torch.randn(2 * f + extra, d, generator=torch.Generator().manual_seed(seed))
    mixed = NNM(n_malicious=f)(updates)
    torch.testing.assert_close(mixed.double(), brute_nnm(updates, f), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_a_huge_row_does_not_reach_the_others(scale):
    updates = torch.randn(6, 1000, generator=torch.Generator().manual_seed(0))
    updates[2] *= scale
    rest = [0, 1, 3, 4, 5]
    expected = brute_nnm(updates, 1)[rest]
    torch.testing.assert_close(NNM(n_malicious=1)(updates)[rest].double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", [FedAvg(), Median(), Krum(n_malicious=1), DimKrum(n_malicious=1, ratio=0.1)])
def test_a_chain_is_its_stages_one_after_the_other(rule):
    updates = torch.randn(7, 90_000, generator=torch.Generator().manual_seed(0))
    pre = NNM(n_malicious=1)
    torch.testing.assert_close(
        chain(pre, rule)(updates).update, rule(pre(updates)).update, atol=1e-6, rtol=1e-5
    )


def test_the_weight_says_how_much_each_client_counted():
    updates = torch.tensor([[0.0], [1.0], [3.0], [100.0], [2.0]])
    result = chain(NNM(n_malicious=1), Krum(n_malicious=1))(updates)
    assert result.weight.tolist() == pytest.approx([0.25, 0.25, 0.25, 0, 0.25])
    assert float(result.weight @ updates.double().squeeze(1)) == pytest.approx(float(result.update))


def test_a_rule_from_elsewhere_gets_a_matrix():
    updates = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    rule = chain(NNM(n_malicious=1), Stranger())
    torch.testing.assert_close(rule(updates).update, NNM(n_malicious=1)(updates).mean(dim=0))
    assert needs_of(rule) == frozenset()
    with pytest.raises(ValueError, match="n_clients=0"):
        check(Stranger(), 0)


def test_stages_that_change_the_number_of_rows():
    updates = torch.tensor([[0.0], [2.0], [4.0], [6.0], [50.0], [70.0]])
    rule = chain(Pairs(), DimKrum(n_malicious=0))
    result = rule(updates, context=AggregationContext(client_ids=(9, 8, 7, 6, 5, 4), n_examples=(1.0,) * 6))
    assert result.update.tolist() == [3.0]
    assert result.weight.tolist() == [0.25, 0.25, 0.25, 0.25, 0, 0]
    with pytest.raises(ValueError, match=r"DimKrum needs .*n_clients=2"):
        rule.check(4)


def test_a_chain_says_what_it_needs_and_who_is_too_few():
    class Needy(PreAggregator):
        needs = frozenset({"root_update"})

    assert needs_of(chain(Needy(), FedAvg())) == {"root_update"}
    with pytest.raises(ValueError, match="NNM needs 2f < n_clients, got f=3 and n_clients=6"):
        chain(NNM(n_malicious=3), FedAvg()).check(6)
    with pytest.raises(ValueError, match="chain needs a rule"):
        chain()


def test_a_chain_reads_like_its_stages():
    assert chain(NNM(n_malicious=1), Median()) == Chain(before=(NNM(n_malicious=1),), rule=Median())
    assert repr(chain(Median())) == "Chain(before=(), rule=Median())"


def test_of_equally_near_rows_the_one_of_the_lowest_id_is_mixed_in():
    updates, ids = torch.tensor([[-1.0], [0.0], [1.0]]), (0, 1, 2)
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        context = AggregationContext(client_ids=tuple(ids[i] for i in order))
        mixed = NNM(n_malicious=1)(updates[order], context=context)
        assert mixed[order.index(1)].item() == -0.5


def test_a_chain_needs_what_its_rule_needs():
    assert chain(NNM(n_malicious=1), MoNNA(n_malicious=1, pivot="root")).needs == {"root_update"}
    assert chain(NNM(n_malicious=1), Stranger()).needs == frozenset()


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("rule", [DimKrum(n_malicious=0), FoolsGold()])
def test_nothing_is_remembered_of_buckets_which_are_no_clients(rule, size):
    updates = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))

    def judged(aggregate, state=None):
        return aggregate(
            updates, context=AggregationContext(client_ids=tuple(range(50, 58)), round=1), state=state
        )

    assert judged(rule).state is not None
    assert judged(chain(NNM(n_malicious=1), rule)).state is not None
    bucketed = chain(Bucketing(size=size), rule)
    first, second = judged(bucketed), judged(bucketed, {"memory": {"50": 1e9}})
    assert first.state is second.state is None
    assert torch.equal(first.update, second.update)


def test_behind_buckets_no_row_has_examples_of_its_own():
    context = AggregationContext(n_examples=(1.0, 1.0, 1.0, 3.0))
    with pytest.raises(ValueError, match="needs one n_examples for each row, got 0 for 4 rows"):
        chain(Bucketing(size=1), FedAvg(weighting="examples"))(torch.eye(4), context=context)
