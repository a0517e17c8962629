import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AggregationContext, layout_of
from hauberk.strategies.aggregators.foolsgold import FoolsGold, foolsgold_weights

HEAD = layout_of({"body": torch.zeros(4), "head.weight": torch.zeros(2, 3), "head.bias": torch.zeros(2)})


def brute_weights(histories):
    """The published formulas in float64, one client after the other."""
    wide = np.asarray(histories, dtype=np.float64)
    n = len(wide)
    norms = np.linalg.norm(wide, axis=1)
    cosines = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j and norms[i] > 0 and norms[j] > 0:
                cosines[i, j] = wide[i] @ wide[j] / norms[i] / norms[j]
    largest = cosines.max(axis=1) + 1e-5
    for i in range(n):
        for j in range(n):
            if i != j and largest[i] < largest[j]:
                cosines[i, j] *= largest[i] / largest[j]
    weights = np.clip(1 - cosines.max(axis=1), 0, 1)
    weights /= weights.max()
    weights[weights == 1] = 0.99
    return np.clip(np.log(weights / (1 - weights) + 1e-5) + 0.5, 0, 1)


def test_a_hand_calculation():
    # Cosines: .8 between the first two, 0 elsewhere. m = .80001, .80001, .00001; only the third is pardoned.
    # w = .2, .2, 1 -> over the largest .2, .2, .99 -> ln(.25 + 1e-5) + .5 < 0, and 5.1 -> cut to 0, 0, 1.
    updates = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 2.0]])
    result = FoolsGold()(updates)
    assert result.weight.tolist() == [0, 0, 1]
    assert result.update.tolist() == [0, 0, 2]
    # At .4 the weights are .6: ln(1.5 + 1e-5) + .5 = .9055.
    distances = torch.tensor([[0.0, 0.6, 1.0], [0.6, 0.0, 1.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([0.90547, 0.90547, 1.0], dtype=torch.float64)
    torch.testing.assert_close(foolsgold_weights(distances), expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(foolsgold_weights(distances, 0.5)[0], expected[0] / 2, rtol=1e-5, atol=0)


@given(st.integers(1, 9), st.integers(2, 30), st.integers(1, 3), st.booleans(), st.integers(0, 2**32))
def test_agrees_with_brute_force_over_several_rounds(n, d, n_rounds, divided, seed):
    rng = torch.Generator().manual_seed(seed)
    shared = torch.randn(1, d, generator=rng)
    rule, state, history = FoolsGold(divided=divided), None, np.zeros((n, d))
    for _ in range(n_rounds):
        updates = torch.randn(n, d, generator=rng) + torch.rand(n, 1, generator=rng) * shared
        history += updates.double().numpy()
        result = rule(updates, state=state)
        state = result.state
    weights = brute_weights(history)
    torch.testing.assert_close(result.weight.numpy(), weights / weights.sum(), rtol=2e-5, atol=2e-6)
    expected = weights @ updates.double().numpy()
    expected = expected / weights.sum() if divided else expected
    np.testing.assert_allclose(result.update, expected, rtol=2e-5, atol=1e-5)


def test_sybils_share_one_vote_and_the_history_remembers_them():
    rng = torch.Generator().manual_seed(0)
    target = torch.randn(500, generator=rng)
    rule, state = FoolsGold(), None
    for _ in range(3):
        updates = torch.randn(8, 500, generator=rng)
        updates[:3] = target + 0.05 * torch.randn(3, 500, generator=rng)
        result = rule(updates, state=state)
        state = result.state
    assert result.weight[:3].max() == 0
    assert result.weight[3:].min() > 0.15
    # One round of good behaviour does not help them.
    honest = rule(torch.randn(8, 500, generator=rng), state=state)
    assert honest.weight[:3].max() == 0


def test_one_attacker_alone_is_not_found():
    updates = torch.randn(8, 500, generator=torch.Generator().manual_seed(0))
    updates[0] *= 10
    assert FoolsGold()(updates).weight[0] > 0.1


def test_the_history_is_of_the_output_layer_and_follows_the_client():
    rng = torch.Generator().manual_seed(1)
    rule = FoolsGold()
    first, second = torch.randn(3, 12, generator=rng), torch.randn(3, 12, generator=rng)
    one = rule(first, context=AggregationContext(client_ids=(5, 9, 2), layout=HEAD))
    assert one.state["client_ids"] == [5, 9, 2]
    assert torch.equal(one.state["history"], first[:, 4:])
    two = rule(second, context=AggregationContext(client_ids=(2, 7, 5), layout=HEAD), state=one.state)
    assert two.state["client_ids"] == [2, 7, 5, 9]
    expected = torch.stack([second[0] + first[2], second[1], second[2] + first[0], first[1]])[:, 4:]
    torch.testing.assert_close(two.state["history"], expected)
    assert torch.equal(one.state["history"], first[:, 4:])


def test_copies_of_each_other_weigh_alike():
    updates = torch.tensor([[1.0, 2.0]] * 3)
    assert FoolsGold()(updates).weight.tolist() == pytest.approx([1 / 3] * 3)
    # Two groups of copies, of different lengths: nobody differs from everyone.
    pairs = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 7.0]])
    assert FoolsGold()(pairs).weight.tolist() == [0.25] * 4
    assert FoolsGold(divided=False)(pairs).update.tolist() == [4.0, 8.0]


def test_histories_of_huge_rows_stay_finite():
    updates = torch.full((3, 4), 3e38)
    updates[1] *= -1
    state = None
    for _ in range(3):
        result = FoolsGold()(updates, state=state)
        state = result.state
    assert state["history"].isfinite().all()
    assert result.update.isfinite().all()


def test_what_does_not_fit_is_refused():
    state = FoolsGold()(torch.ones(2, 12)).state
    with pytest.raises(ValueError, match="histories of 12 features, the rows have 8"):
        FoolsGold()(torch.ones(2, 12), context=AggregationContext(layout=HEAD), state=state)
    with pytest.raises(ValueError, match="FoolsGold needs a layout of 5 parameters, got 12"):
        FoolsGold()(torch.ones(2, 5), context=AggregationContext(layout=HEAD))
    with pytest.raises(ValueError, match="confidence must be a number > 0, got 0"):
        FoolsGold(confidence=0)
    with pytest.raises(ValueError, match="divided must be true or false, got 'no'"):
        FoolsGold(divided="no")


def test_without_a_matrix_in_the_layout_the_whole_row_is_looked_at():
    updates = torch.randn(4, 31, generator=torch.Generator().manual_seed(0))
    vectors = layout_of({"w": torch.zeros(30), "b": torch.zeros(1)})
    found = FoolsGold()(updates, context=AggregationContext(layout=vectors))
    assert torch.equal(found.update, FoolsGold()(updates).update)
