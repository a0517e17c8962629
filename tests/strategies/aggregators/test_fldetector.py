import pytest
import torch

from hauberk.strategies import AggregationContext
from hauberk.strategies.aggregators.fldetector import FLDetector

N, D = 8, 60


def rounds_of(rule, n_rounds, sent, ids=range(N)):
    """Plays rounds on a quadratic loss with noisy gradients; ``sent`` makes what arrives of the honest ones [N, D]."""
    rng = torch.Generator().manual_seed(1)
    curvature = torch.linspace(0.05, 0.4, D)
    optima = 1 + 0.2 * torch.randn(N, D, generator=rng)
    model, state, results = torch.zeros(D), None, []
    for number in range(1, n_rounds + 1):
        honest = curvature * (optima - model) + 0.02 * torch.randn(N, D, generator=rng)
        context = AggregationContext(parameters=model, round=number, client_ids=tuple(ids))
        results.append(rule(sent(number, honest), context=context, state=state))
        model, state = model + results[-1].update, results[-1].state
    return results


def liar(number, honest):
    noise = torch.randn(D, generator=torch.Generator().manual_seed(number))
    return torch.cat([honest[:1] + 0.1 * noise, honest[1:]])


def test_honest_updates_are_foreseen_and_nobody_is_left_out():
    result = rounds_of(FLDetector(window=3), 12, lambda _, honest: honest)[-1]
    assert result.state["malicious"] == []
    torch.testing.assert_close(result.weight, torch.full((N,), 1 / N).double())


def test_who_is_foreseen_worst_is_left_out_for_good():
    results = rounds_of(FLDetector(window=3), 8, liar, ids=range(10, 10 + N))
    assert [bool(one.state["malicious"]) for one in results] == [False] * 4 + [True] * 4
    assert results[-1].state["malicious"] == [10]
    assert results[-1].weight[0] == 0
    assert results[-1].report["fldetector/malicious"] == 1
    assert results[4].report["fldetector/score/10"] > 2 * results[4].report["fldetector/score/11"]


def test_a_distance_by_hand():
    """One pair: B = y^T s / s^T s I + ... maps the last step to the last change, and the model goes on along it."""
    rule, state = FLDetector(window=5), None
    models = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    sent = torch.tensor([[[1.0, 0], [1, 0]], [[0.5, 0], [0.5, 0]], [[0.0, 3.0], [0.0, 4.0]]])
    for number, (model, updates) in enumerate(zip(models, sent, strict=True)):
        result = rule(updates, context=AggregationContext(parameters=model, round=number), state=state)
        state = result.state
    # Step (1, 0) changed the update by (-.5, 0), so (.5, 0) + (-.5, 0) = (0, 0) is foreseen for both.
    assert state["judged"] == {"0": [pytest.approx(3 / 7)], "1": [pytest.approx(4 / 7)]}


def test_who_was_not_there_last_time_is_not_foreseen():
    rule, state = FLDetector(window=2), None
    for number, ids in enumerate([(0, 1, 2), (0, 1, 2), (0, 1, 3), (0, 1, 2)]):
        updates = torch.randn(3, D, generator=torch.Generator().manual_seed(number))
        context = AggregationContext(parameters=float(number) * torch.ones(D), client_ids=ids)
        state = rule(updates, context=context, state=state).state
    assert sorted(state["judged"]) == ["0", "1"]
    assert len(state["judged"]["0"]) == 2


def test_it_keeps_no_more_pairs_than_the_window():
    state = rounds_of(FLDetector(window=3), 9, lambda _, honest: honest)[-1].state
    assert sorted(key for key in state if "step" in key) == [f"vector/step/{number}" for number in (7, 8, 9)]


def test_a_round_of_nobody_but_the_malicious_leaves_the_model():
    rule = FLDetector(window=1)
    state = rule(torch.ones(2, 3), context=AggregationContext(parameters=torch.zeros(3))).state
    state |= {"malicious": [0, 1]}
    result = rule(torch.ones(2, 3), context=AggregationContext(parameters=torch.ones(3)), state=state)
    assert result.update.tolist() == [0, 0, 0]


def test_another_layout_is_refused():
    state = FLDetector()(torch.ones(2, 3), context=AggregationContext(parameters=torch.zeros(3))).state
    with pytest.raises(ValueError, match="of 3 parameters, and the model has 4"):
        FLDetector()(torch.ones(2, 4), context=AggregationContext(parameters=torch.zeros(4)), state=state)
