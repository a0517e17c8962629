import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext
from hauberk.strategies.aggregators.crfl import CRFL


def test_a_hand_calculation():
    # The mean leads from (3, 4) to (6, 8), of norm 10; 1.2 times the first norm is 6.
    updates = torch.tensor([[2.0, 4.0], [4.0, 4.0]])
    context = AggregationContext(parameters=torch.tensor([3.0, 4.0]))
    result = CRFL(noise=0)(updates, context=context)
    assert result.update.tolist() == pytest.approx([0.6, 0.8])
    assert result.report == {"crfl/norm": pytest.approx(10), "crfl/scale": pytest.approx(0.6)}
    assert result.state == {"initial_norm": pytest.approx(5)}
    assert CRFL(clip=2, noise=0)(updates, context=context).update.tolist() == pytest.approx([3, 4])


@given(st.integers(1, 9), st.integers(1, 60), st.floats(0.1, 3), st.booleans(), st.integers(0, 2**32))
def test_agrees_with_float64(n, d, clip, noisy, seed):
    rng = torch.Generator().manual_seed(seed)
    updates, parameters = torch.randn(n, d, generator=rng), torch.randn(d, generator=rng)
    noise = 0.01 if noisy else 0.0
    context = AggregationContext(parameters=parameters, rng=torch.Generator().manual_seed(7))
    result = CRFL(clip=clip, noise=noise)(updates, context=context)
    moved = parameters.double() + updates.double().mean(dim=0)
    moved *= min(1, clip * float(parameters.double().norm() / moved.norm()))
    moved += noise * torch.randn(d, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(parameters.double() + result.update, moved, rtol=2e-5, atol=2e-6)


def test_the_bound_is_that_of_the_first_round():
    rule = CRFL(clip=1, noise=0)
    first = rule(torch.ones(2, 2), context=AggregationContext(parameters=torch.tensor([3.0, 4.0])))
    later = rule(
        torch.zeros(2, 2),
        context=AggregationContext(parameters=torch.tensor([30.0, 40.0])),
        state=first.state,
    )
    assert (torch.tensor([30.0, 40.0]) + later.update).norm() == pytest.approx(5)


def test_a_model_that_starts_from_zero_takes_the_norm_after_its_first_round():
    result = CRFL(noise=0)(torch.tensor([[3.0, 4.0]]), context=AggregationContext(parameters=torch.zeros(2)))
    assert result.update.tolist() == [3, 4]
    assert result.state == {"initial_norm": pytest.approx(5)}


def test_noise_reaches_every_parameter_and_only_the_cohort_draws_it():
    context = {"parameters": torch.ones(100_000), "round": 3}
    updates = torch.zeros(3, 100_000)
    noise = CRFL(clip=10, noise=0.01)(updates, context=AggregationContext(**context)).update
    assert noise.std() == pytest.approx(0.01, rel=0.02)
    assert noise.mean().abs() < 1e-4
    assert torch.equal(
        CRFL(clip=10, noise=0.01)(updates, context=AggregationContext(**context)).update, noise
    )


@pytest.mark.parametrize("scale", [1e10, 1e30])
def test_one_huge_row_cannot_make_the_model_larger(scale):
    updates = torch.randn(5, 100, generator=torch.Generator().manual_seed(0))
    updates[3] *= scale
    parameters = torch.ones(100)
    result = CRFL(noise=0)(updates, context=AggregationContext(parameters=parameters))
    assert (parameters + result.update).norm() == pytest.approx(12, rel=1e-5)


def test_what_is_missing_or_impossible_is_refused():
    with pytest.raises(
        ValueError, match=r"CRFL needs parameters: give it as AggregationContext\(parameters=...\)"
    ):
        CRFL()(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"CRFL needs parameters of shape \(3,\), got \(4,\)"):
        CRFL()(torch.ones(2, 3), context=AggregationContext(parameters=torch.ones(4)))
    with pytest.raises(ValueError, match="clip must be a number > 0, got 0"):
        CRFL(clip=0)
    with pytest.raises(ValueError, match="noise must be a number >= 0, got -1"):
        CRFL(noise=-1)
