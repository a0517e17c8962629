import math

import pytest
import torch

from hauberk.strategies import AggregationContext
from hauberk.strategies.aggregators.ledger import Ledger
from hauberk.strategies.serving import serves

N_TEXTS = 40


def answer_of(inputs):
    """A linear model of two classes: logits (-m, m) / 2 of the margin m = inputs @ parameters."""

    def answer(parameters, rows):
        margin = (inputs if rows is None else inputs[rows]) @ parameters
        return torch.stack([-margin, margin], dim=1) / 2

    return answer


def texts(n, seed=0, trigger=0.0):
    """Inputs whose last coordinate is a trigger that clean ones lack."""
    inputs = torch.randn(n, 6, generator=torch.Generator().manual_seed(seed))
    inputs[:, -1] = trigger
    return inputs


def played(rule, rounds=3, lie=4.0, n=7, ids=None):
    """The parameters and the state after rounds in which client 0 plants a weight on the trigger."""
    parameters, state, rng = torch.zeros(6), None, torch.Generator().manual_seed(1)
    for number in range(rounds):
        updates = torch.tensor([1.0, -1, 0.5, 0, 0, 0]) + 0.1 * torch.randn(n, 6, generator=rng)
        updates[:, -1] = 0
        updates[0, -1] = lie
        context = AggregationContext(client_ids=ids or tuple(range(n)), round=number)
        result = rule(updates, context=context, state=state)
        parameters, state = parameters + result.update, result.state
    return parameters, state


def test_the_vectors_add_up_to_what_the_model_learned():
    parameters, state = played(Ledger(n_malicious=1))
    assert state["client_ids"] == list(range(7))
    assert state["weights"] == pytest.approx([3 / 7] * 7)
    torch.testing.assert_close(sum(state[f"vector/{one}"] for one in range(7)), parameters)
    assert state["vector/0"][-1] == pytest.approx(3 * 4 / 7)


def test_a_hand_calculation_of_the_model_without_a_client():
    # Three clients sent 3, 6 and 9: p = 6, U = 1, 2, 3. Without the third: 6 - 6 + (6 - 3) / (1 - 1/3) = 4.5.
    updates = torch.tensor([[3.0], [6.0], [9.0]])
    result = Ledger(n_malicious=1)(updates)
    serving = Ledger(n_malicious=1).serving(result.update, result.state, answer_of(torch.ones(N_TEXTS, 1)))
    assert serving.without([2]).tolist() == pytest.approx([4.5])
    assert serving.without([1, 2]).tolist() == pytest.approx([3.0])
    # Every clean input has the margin 6, and 4.5 without the third: the bias gives 1.5 back, half to each class.
    assert serving.biases[2].tolist() == pytest.approx([-0.75, 0.75])


def test_a_planted_trigger_is_left_out_and_clean_inputs_are_answered_as_before():
    rule = Ledger(n_malicious=1)
    assert serves(rule)
    parameters, state = played(rule)
    serving = rule.serving(parameters, state, answer_of(texts(N_TEXTS)))
    clean, triggered = texts(50, seed=2), texts(50, seed=2, trigger=12.0)
    plain = answer_of(clean)(parameters, None).argmax(dim=1)
    assert (answer_of(triggered)(parameters, None).argmax(dim=1) == 1).all()
    served = serving(answer_of(triggered))
    assert (served.logits.argmax(dim=1) == plain).float().mean() > 0.9
    hit = plain == 0  # where the trigger turned the answer
    assert served.left_out[hit, 0].all()
    assert not served.left_out[:, 1:].any()
    assert served.passes == 8 * 50 + int(served.flagged.sum())
    assert (serving(answer_of(clean)).logits.argmax(dim=1) == plain).float().mean() > 0.9


def test_traffic_with_a_trigger_in_it_evicts_who_planted_it():
    rule = Ledger(n_malicious=1)
    parameters, state = played(rule)
    serving = rule.serving(parameters, state, answer_of(texts(200)))
    assert serving.n_clean == 200
    again = serving(answer_of(texts(200))).left_out.sum(dim=0)
    assert (serving.flags >= again).all()  # as if they had not calibrated it
    assert serving.flags.sum() < again.sum() + 10
    clean, triggered, limit = texts(150, seed=2), texts(50, seed=3, trigger=12.0), math.log(1e-3 / 7)
    unusual = serving.unusual(serving(answer_of(torch.cat([clean, triggered]))).left_out)
    assert [one for one in range(7) if unusual[one] < limit] == [0]
    assert (serving.unusual(serving(answer_of(clean)).left_out) > limit).all()
    left = serving.evicted([0])
    assert torch.equal(left, serving.without([0]))
    assert torch.equal(serving.balance([0]), serving.biases[0])
    plain = answer_of(texts(50, seed=3))(parameters, None).argmax(dim=1)
    assert (answer_of(triggered)(left, None).argmax(dim=1) == plain).float().mean() > 0.9


def test_nobody_is_left_out_where_nobody_may_be():
    rule = Ledger(n_malicious=0)
    parameters, state = played(rule)
    answer = answer_of(texts(20, trigger=12.0))
    served = rule.serving(parameters, state, answer_of(texts(N_TEXTS)))(answer)
    assert not served.flagged.any()
    assert torch.equal(served.logits, answer(parameters, None))


def test_two_liars_are_left_out_together():
    rule, parameters, state = Ledger(n_malicious=2), torch.zeros(6), None
    for number in range(3):
        updates = torch.tensor([1.0, -1, 0.5, 0, 0, 0]).repeat(7, 1)
        updates += 0.1 * torch.randn(7, 6, generator=torch.Generator().manual_seed(number))
        updates[:, -1] = torch.tensor([4.0, 4, 0, 0, 0, 0, 0])
        result = rule(updates, state=state)
        parameters, state = parameters + result.update, result.state
    served = rule.serving(parameters, state, answer_of(texts(N_TEXTS)))(
        answer_of(texts(30, seed=3, trigger=12.0))
    )
    clean = answer_of(texts(30, seed=3))(parameters, None).argmax(dim=1)
    assert (served.logits.argmax(dim=1) == clean).float().mean() > 0.9
    assert (served.left_out.sum(dim=1) == 2).any()


def test_several_classes_have_margins_of_their_own():
    rule, rng = Ledger(n_malicious=1), torch.Generator().manual_seed(0)
    body = torch.randn(3, 5, generator=rng)
    updates = torch.stack(
        [torch.cat([body + 0.05 * torch.randn(3, 5, generator=rng), torch.zeros(3, 1)], 1) for _ in range(7)]
    )
    updates[0, 2, -1] = 60.0

    def answer_of(inputs):
        return lambda theta, rows: (inputs if rows is None else inputs[rows]) @ theta.view(3, 6).T

    result = rule(updates.flatten(1))
    serving = rule.serving(result.update, result.state, answer_of(texts(60)))
    plain = answer_of(texts(50, seed=4))(result.update, None).argmax(dim=1)
    triggered = answer_of(texts(50, seed=4, trigger=12.0))
    assert (triggered(result.update, None).argmax(dim=1) == 2).all()
    assert (serving(triggered).logits.argmax(dim=1) == plain).float().mean() > 0.9


def test_clients_beyond_the_bound_share_a_vector_in_the_order_in_which_they_came():
    rule = Ledger(n_malicious=0, max_vectors=3)
    updates = torch.eye(4)
    first = rule(updates, context=AggregationContext(client_ids=(40, 10, 30, 20)))
    assert first.state["client_ids"] == [10, 20, 30, 40]
    assert first.report["ledger/merged"] == 1
    assert first.state["vector/0"].tolist() == [0.25, 0.25, 0, 0]  # of 10 and of 40
    second = rule(updates[:1], context=AggregationContext(client_ids=(99,)), state=first.state)
    assert second.state["client_ids"][-1] == 99
    assert second.state["weights"] == pytest.approx([0.5, 1.25, 0.25])
    clients = rule.serving(second.update, second.state, answer_of(torch.randn(40, 4))).clients
    assert clients == ((10, 40), (20, 99), (30,))


def test_vectors_beyond_the_memory_are_files_and_hold_the_same():
    rows = torch.randn(5, 1000, generator=torch.Generator().manual_seed(0))
    there, mapped = Ledger(n_malicious=1)(rows), Ledger(n_malicious=1, memory_mb=0)(rows)
    for one in range(5):
        assert torch.equal(there.state[f"vector/{one}"], mapped.state[f"vector/{one}"])


def test_the_clip_and_the_weights_by_examples():
    updates = torch.tensor([[1.0], [1.0], [10.0]])
    assert Ledger(n_malicious=1, clip=2.0)(updates).update.tolist() == pytest.approx([4 / 3])
    context = AggregationContext(n_examples=(10.0, 10.0, 20.0))
    assert Ledger(n_malicious=1, weighting="examples")(updates, context=context).update.tolist() == [5.5]
    with pytest.raises(ValueError, match="Ledger with weighting='examples' needs one n_examples"):
        Ledger(n_malicious=1, weighting="examples")(updates)


def test_what_cannot_be_served_is_refused_in_one_line():
    rule = Ledger(n_malicious=1)
    parameters, state = played(rule)
    with pytest.raises(ValueError, match="remembers nothing yet"):
        rule.serving(parameters, None, answer_of(texts(40)))
    with pytest.raises(ValueError, match="contributions to 6 parameters, and the model has 5"):
        rule.serving(parameters[:5], state, answer_of(texts(40)))
    with pytest.raises(ValueError, match="contributions to 6 parameters, and the model has 7"):
        rule(torch.ones(3, 7), state=state)
    for odd in (
        {"threshold": 0},
        {"quantile": 0.5},
        {"clip": 0},
        {"weighting": "size"},
        {"max_vectors": 2},
        {"memory_mb": -1},
    ):
        with pytest.raises(ValueError, match=f"Ledger.{next(iter(odd))} must be"):
            Ledger(n_malicious=1, **odd)
