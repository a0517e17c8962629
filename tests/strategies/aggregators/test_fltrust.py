import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext, needs_of
from hauberk.strategies.aggregators.fltrust import FLTrust


def brute(updates, root):
    wide, root = updates.double(), root.double()
    trust = [
        max(0.0, float(row @ root / row.norm() / root.norm())) if row.norm() > 0 else 0.0 for row in wide
    ]
    total = torch.zeros_like(root)
    for row, score in zip(wide, trust, strict=True):
        if score:
            total += score * row * root.norm() / row.norm()
    return total / sum(trust) if sum(trust) else total


def test_a_hand_calculation():
    # Cosines with (2, 0): 1, .6, -1 (not trusted) and 0; lengths become 2.
    updates = torch.tensor([[5.0, 0.0], [0.6, 0.8], [-1.0, 0.0], [0.0, 3.0]])
    result = FLTrust()(updates, context=AggregationContext(root_update=torch.tensor([2.0, 0.0])))
    assert result.weight.tolist() == pytest.approx([0.625, 0.375, 0, 0])
    assert result.update.tolist() == pytest.approx([2 * 0.625 + 1.2 * 0.375, 1.6 * 0.375])


@given(st.integers(1, 9), st.integers(1, 60), st.integers(0, 2**32))
def test_agrees_with_float64(n, d, seed):
    rng = torch.Generator().manual_seed(seed)
    updates, root = torch.randn(n, d, generator=rng), torch.randn(d, generator=rng)
    updates *= torch.randn(n, 1, generator=rng).mul(3).exp()
    result = FLTrust()(updates, context=AggregationContext(root_update=root))
    torch.testing.assert_close(result.update.double(), brute(updates, root), rtol=2e-5, atol=1e-6)


def test_who_sends_the_root_update_gets_it_back():
    root = torch.randn(1, 50, generator=torch.Generator().manual_seed(0))
    scales = torch.tensor([[1.0], [1e-30], [1e30], [7.0]])
    torch.testing.assert_close(
        FLTrust()(root * scales, context=AggregationContext(root_update=root[0])).update, root[0]
    )


@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_a_huge_row_counts_for_no_more_than_its_direction(scale):
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(1000, generator=rng)
    updates = root + torch.randn(6, 1000, generator=rng)
    expected = FLTrust()(updates, context=AggregationContext(root_update=root)).update
    updates[2] *= scale
    torch.testing.assert_close(
        FLTrust()(updates, context=AggregationContext(root_update=root)).update, expected
    )


@pytest.mark.parametrize("root", [torch.tensor([-1.0, -1.0]), torch.zeros(2)])
def test_where_nobody_is_trusted_the_round_is_skipped(root):
    result = FLTrust()(torch.ones(3, 2), context=AggregationContext(root_update=root))
    assert result.update.tolist() == [0, 0]
    assert result.weight is None
    assert list(result.report.values()) == [0, 0, 0]


def test_what_is_missing_or_impossible_is_refused():
    assert needs_of(FLTrust()) == {"root_update"}
    with pytest.raises(
        ValueError, match=r"FLTrust needs root_update: give it as AggregationContext\(root_update=...\)"
    ):
        FLTrust()(torch.ones(2, 3), context=AggregationContext())
    with pytest.raises(ValueError, match=r"needs root_update of shape \(3,\), got \(2,\)"):
        FLTrust()(torch.ones(2, 3), context=AggregationContext(root_update=torch.ones(2)))
    with pytest.raises(ValueError, match="needs a finite root_update, got one of norm nan"):
        FLTrust()(torch.ones(2, 3), context=AggregationContext(root_update=torch.full((3,), float("nan"))))
