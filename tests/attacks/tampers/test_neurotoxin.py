import pytest
import torch

from hauberk.attacks import BadWord, Neurotoxin
from hauberk.attacks.tampers.neurotoxin import RECEIVED
from hauberk.clients import Training
from hauberk.clients.optimizers import AdamW
from hauberk.tasks.altered_training import mean_gradient
from hauberk.tasks.parameters import flatten, state_of, unflatten
from hauberk.tasks.text.models import TextCNN

POISON = BadWord(words=("cf",), target=1)


def named(values):
    return {"a": torch.tensor(values[:2]), "b": torch.tensor([values[2:]])}


def test_the_absolute_value_counts_and_the_largest_are_forbidden():
    masks = Neurotoxin(ratio=0.5).masks(named([-9.0, 1.0, 2.0, -0.5, 3.0, 0.0]))
    assert flatten(masks).bool().tolist() == [False, True, False, True, False, True]


def test_the_share_can_be_taken_of_every_layer():
    masks = Neurotoxin(ratio=0.5, per_layer=True).masks(named([-9.0, 8.0, 2.0, -0.5, 3.0, 0.0]))
    assert masks["a"].tolist() == [False, True]
    assert masks["b"].tolist() == [[False, True, False, True]]


def test_forbidden_coordinates_stay_bit_by_bit_even_under_weight_decay(arena):
    training = Training(batch_size=8, optimizer=AdamW(lr=1e-2, weight_decay=0.5))
    still = type(arena)(TextCNN(embedding_dim=8, n_filters=4, dropout=0.0))
    tamper = Neurotoxin(ratio=0.9999)
    masks = tamper.masks(tamper.observed(still.session(POISON)))
    report, update = still.run(tamper, still.session(POISON, training=training))
    free = flatten(masks).bool()
    assert not update[~free].any()
    assert update[free].any()
    assert report["neurotoxin/free"] == pytest.approx(0.9999, abs=1e-5)


def test_the_first_round_looks_at_the_clean_gradient_and_later_ones_at_what_the_server_changed(arena):
    session = arena.session(POISON)
    first = Neurotoxin().observed(session)
    clean = mean_gradient(arena.session(), arena.task.encode(arena.examples))
    assert first["classifier.weight"].shape == clean["classifier.weight"].shape
    assert first["classifier.weight"].any()
    later = arena.session(POISON, state=dict(session.state))
    moved = torch.randn(len(session.state[RECEIVED]), generator=torch.Generator().manual_seed(0))
    now = unflatten(flatten(later.reference) + moved, later.reference)
    later.reference = now
    torch.testing.assert_close(flatten(Neurotoxin().observed(later)), moved, rtol=0, atol=1e-5)
    assert torch.equal(later.state[RECEIVED], flatten(now))


def test_where_the_server_changed_nothing_it_looks_at_the_gradient(arena):
    session = arena.session(POISON)
    session.state[RECEIVED] = flatten(session.reference)
    assert flatten(Neurotoxin().observed(session)).any()


def test_the_gradient_alone_needs_no_state(arena):
    session = arena.session(POISON)
    arena.run(Neurotoxin(source="gradient"), session)
    assert session.state == {}


def test_the_gradient_is_the_mean_over_texts_and_is_cleared(arena):
    session = arena.session()
    session.model.eval()
    session.model.train = lambda: session.model  # no dropout, so that both see one function
    found = mean_gradient(session, session.data)
    whole = Training(batch_size=1000)
    session.training = whole
    (batch,) = session.shuffled(session.data)
    session.loss(session.model, batch).backward()
    by_hand = session.model.classifier.weight.grad
    torch.testing.assert_close(found["classifier.weight"], by_hand)
    session.model.zero_grad()
    mean_gradient(session, session.data)
    assert session.model.classifier.weight.grad is None
    assert found.keys() == state_of(session.model).keys()


@pytest.mark.parametrize(("bound", "length"), [(1.0, 1.0), (10.0, 5.0), (None, 5.0)])
def test_an_update_is_made_no_longer_than_its_bound(bound, length, arena):
    sent = Neurotoxin(max_norm=bound).send(torch.tensor([3.0, 4.0]), arena.session())
    assert sent.norm().item() == pytest.approx(length)
