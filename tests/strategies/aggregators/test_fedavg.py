import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext, FedAvg


def test_the_default_ignores_what_clients_claim():
    updates = torch.tensor([[0.0], [3.0], [6.0]])
    assert FedAvg()(updates, context=AggregationContext(n_examples=(1.0, 1.0, 1e6))).update.tolist() == [3.0]


def test_weights_by_examples():
    updates = torch.tensor([[0.0], [3.0], [6.0]])
    result = FedAvg(weighting="examples")(updates, context=AggregationContext(n_examples=(1.0, 1.0, 2.0)))
    assert result.weight.tolist() == [0.25, 0.25, 0.5]
    assert result.update.tolist() == [3.75]


def test_a_claim_counts_for_at_most_cap_times_the_median():
    updates = torch.tensor([[0.0], [0.0], [1.0]])
    result = FedAvg(weighting="examples", cap=2)(
        updates, context=AggregationContext(n_examples=(10.0, 10.0, 1e6))
    )
    assert result.weight.tolist() == [0.25, 0.25, 0.5]


@given(st.integers(1, 30), st.integers(1, 50), st.integers(0, 2**32))
def test_agrees_with_float64(n, d, seed):
    rng = torch.Generator().manual_seed(seed)
    updates = torch.randn(n, d, generator=rng)
    claims = torch.rand(n, generator=rng).double() + 0.5  # the cap of 3 medians touches none of them
    uniform = FedAvg()(updates).update
    torch.testing.assert_close(uniform.double(), updates.double().mean(dim=0), rtol=2e-5, atol=1e-6)
    weighted = FedAvg(weighting="examples")(
        updates, context=AggregationContext(n_examples=tuple(claims.tolist()))
    ).update
    expected = claims @ updates.double() / claims.sum()
    torch.testing.assert_close(weighted.double(), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("context", [None, AggregationContext(), AggregationContext(n_examples=(1.0, 2.0))])
def test_missing_counts_are_refused_with_both_numbers(context):
    with pytest.raises(ValueError, match=r"needs one n_examples for each row, got [02] for 3 rows"):
        FedAvg(weighting="examples")(torch.zeros(3, 2), context=context)


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="weighting must be 'uniform' or 'examples', got 'example'"):
        FedAvg(weighting="example")
    with pytest.raises(ValueError, match=r"cap must be a number >= 1, got 0\.5"):
        FedAvg(cap=0.5)
