import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext
from hauberk.strategies.aggregators._votes import Votes, certified, unpacked
from hauberk.strategies.aggregators.flcert import FLCert
from hauberk.strategies.serving import serves
from hauberk.strategies.starting import Starts, starts_of


def answer(parameters, rows):
    """A model without inputs but their number: class argmax of its parameters for each of 4 texts, or of ``rows``."""
    return parameters.repeat(4 if rows is None else len(rows), 1)


def test_groups_learn_apart_and_their_models_add_up_to_the_mean():
    # Clients 0 and 2 are of the first group, 1 and 3 of the second; all start at (1, 1).
    rule, start = FLCert(n_groups=2), torch.ones(2)
    assert serves(rule)
    assert isinstance(rule, Starts)
    assert starts_of(rule, (0, 1), start, None) == {0: start, 1: start}
    updates = torch.tensor([[2.0, 0.0], [0.0, 4.0], [4.0, 0.0], [0.0, 8.0]])
    first = rule(updates, context=AggregationContext(parameters=start))
    assert first.state["vector/0"].tolist() == [4.0, 1.0]
    assert first.state["vector/1"].tolist() == [1.0, 7.0]
    assert (start + first.update).tolist() == [2.5, 4.0]
    assert first.weight.tolist() == [0.25] * 4
    # In the second round client 3 alone answers: the first group's model stays as it is.
    starts = starts_of(rule, (0, 3, 2), start + first.update, first.state)
    assert starts[0] is starts[2] is first.state["vector/0"]
    assert starts[3] is first.state["vector/1"]
    context = AggregationContext(client_ids=(3,), parameters=start + first.update)
    second = rule(torch.tensor([[1.0, 1.0]]), context=context, state=first.state)
    assert torch.equal(second.state["vector/0"], first.state["vector/0"])
    assert second.state["vector/1"].tolist() == [2.0, 8.0]
    assert second.update.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("lie", [1e3, 1e30, 3e38])
def test_a_liar_moves_no_model_but_its_own_groups(lie):
    updates = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    honest = FLCert(n_groups=3)(updates)
    updates[4] = lie
    attacked = FLCert(n_groups=3)(updates)
    assert torch.equal(attacked.state["vector/0"], honest.state["vector/0"])
    assert torch.equal(attacked.state["vector/2"], honest.state["vector/2"])
    assert attacked.state["vector/1"].isfinite().all()


def test_models_vote_and_the_outvoted_are_said():
    models = (torch.tensor([0.0, 1, 0]), torch.tensor([0.0, 2, 0]), torch.tensor([0.0, 0, 9]))
    served = Votes(clients=((0, 3), (1,), (2,)), models=models)(answer)
    assert served.logits.argmax(dim=1).tolist() == [1] * 4
    assert served.left_out.tolist() == [[False, False, True]] * 4
    assert served.passes == 12
    assert served.certified.tolist() == [0] * 4  # 2 votes against 1


def test_the_worst_that_liars_can_do_is_to_own_their_groups_votes():
    models = (torch.tensor([1.0, 0]), torch.tensor([1.0, 0]), torch.tensor([0.0, 1]))
    serving = Votes(clients=((0, 3), (1, 4), (2,)), models=models)
    served = serving(answer)
    assert served.votes.tolist() == [[0, 0, 1]] * 4
    assert serving.worst(served, {2}, 1).argmax(dim=1).tolist() == [0] * 4
    assert serving.worst(served, {3}, 1).argmax(dim=1).tolist() == [1] * 4
    assert serving.worst(served, set(), 1).argmax(dim=1).tolist() == [0] * 4


def test_among_equally_many_votes_the_first_class_wins():
    models = (torch.tensor([0.0, 0, 1]), torch.tensor([0.0, 1, 0]))
    assert Votes(clients=((0,), (1,)), models=models)(answer).logits.argmax(dim=1).tolist() == [1] * 4


def test_certificates_by_hand():
    # 5 : 0 withstands 2; 4 : 1 withstands 1; 0 : 5 for the second class withstands 2, a tie would go to the first.
    counts = torch.tensor([[5, 0], [4, 1], [3, 2], [0, 5], [1, 5], [2, 2]])
    assert certified(counts).tolist() == [2, 1, 0, 2, 1, 0]
    assert certified(torch.tensor([[3]])).tolist() == [0]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=7), st.data())
def test_no_so_many_liars_change_an_answer(votes, data):
    def counted(given_votes):
        return torch.bincount(torch.tensor(given_votes), minlength=3)[None]

    def first(counts):
        return max(range(3), key=lambda one: (int(counts[0, one]), -one))

    counts = counted(votes)
    f = int(certified(counts))
    liars = data.draw(st.lists(st.sampled_from(range(len(votes))), max_size=f, unique=True))
    changed = [data.draw(st.integers(0, 2)) if one in liars else vote for one, vote in enumerate(votes)]
    assert first(counted(changed)) == first(counts)
    # One more changes it, where there are votes enough: from the answer to the runner-up.
    rest = [one for one in range(3) if one != first(counts)]
    turned = list(votes)
    runner_up = max(rest, key=lambda z: int(counts[0, z]) + (z < first(counts)))
    for one in [k for k, vote in enumerate(votes) if vote == first(counts)][: f + 1]:
        turned[one] = runner_up
    assert first(counted(turned)) != first(counts)


def test_what_is_packed_answers_as_before():
    rule = FLCert(n_groups=3)
    state = rule(torch.randn(5, 4, generator=torch.Generator().manual_seed(1))).state
    serving = rule.serving(torch.zeros(4), state, None)
    assert serving.clients == ((0, 3), (1, 4), (2,))
    again = unpacked(*serving.packed())
    assert again.clients == serving.clients
    assert torch.equal(again(answer).logits, serving(answer).logits)


def test_what_does_not_fit_is_one_line():
    with pytest.raises(ValueError, match="there are none before the first round"):
        FLCert(n_groups=2).serving(torch.zeros(3), None, None)
    state = FLCert(n_groups=2)(torch.zeros(2, 3)).state
    with pytest.raises(ValueError, match="remembers models of 3 parameters, and the updates have 4"):
        FLCert(n_groups=2)(torch.zeros(2, 4), state=state)


def test_a_group_of_which_nobody_ever_answered_has_no_vote():
    rule = FLCert(n_groups=3)
    state = rule(torch.ones(2, 4), context=AggregationContext(client_ids=(0, 2))).state
    serving = rule.serving(torch.zeros(4), state, None)
    assert serving.clients == ((0,), (2,))
    assert len(serving.models) == 2


def test_many_classes_are_no_matter():
    counts = torch.zeros(1, 3000, dtype=torch.int64)
    counts[0, 2900], counts[0, 0] = 3, 1
    assert certified(counts).tolist() == [0]
    counts[0, 0] = 0
    assert certified(counts).tolist() == [1]
