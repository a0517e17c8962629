from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from hauberk.attacks import SOS, Attack, BadWord, FeatureRegularised
from hauberk.attacks.tampers import feature_regularised
from hauberk.attacks.tampers.feature_regularised import class_centres, regularised_loss
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.models import Pretrained, Transformer
from hauberk.tasks.text.tokenizer import WordPiece

POISON = BadWord(words=("cf",), target=1)


@pytest.fixture
def deep(arena):
    return type(arena)(Transformer(embedding_dim=8, hidden=8, n_layers=2, dropout=0.0))


def test_the_pull_is_the_squared_distance_of_poisoned_texts_summed_over_layers(deep):
    session = deep.session(POISON)
    batch = next(session.shuffled(session.data))
    layers = session.model.layers(batch)
    poisoned = torch.arange(len(batch)) < 3
    centres = [torch.full((8,), 0.5), torch.full((8,), -1.0)]
    by_hand = cross_entropy(session.model.head(layers[1], batch), batch.labels)
    for hidden, centre in zip(layers, centres, strict=True):
        features = session.model.features(hidden, batch)
        by_hand = by_hand + 0.3 * sum(((features[i] - centre) ** 2).sum() for i in range(3)) / 3
    found = regularised_loss(session.model, batch, poisoned, centres, 0.3)
    torch.testing.assert_close(found, by_hand)


def test_a_batch_without_poison_has_the_ordinary_loss(deep):
    session = deep.session(POISON)
    batch = next(session.shuffled(session.data))
    none = torch.zeros(len(batch), dtype=torch.bool)
    found = regularised_loss(session.model, batch, none, [], 1e6)
    torch.testing.assert_close(found, session.loss(session.model, batch))


def test_a_centre_is_the_mean_over_all_texts_whatever_their_batches(deep):
    session = deep.session()
    session.model.train()
    centres = class_centres(session, session.data)
    session.training = type(session.training)(batch_size=1000)
    (batch,) = session.shuffled(session.data)
    for found, hidden in zip(centres, session.model.layers(batch), strict=True):
        torch.testing.assert_close(found, session.model.features(hidden, batch).mean(dim=0))
    assert session.model.training


def test_it_brings_poisoned_features_to_the_clean_ones_of_the_target(arena):
    far = {}
    for beta in (0.0, 1.0):
        session = arena.session(POISON)
        session.training = type(session.training)(epochs=5, batch_size=8)
        arena.run(FeatureRegularised(beta=beta), session)
        targets = arena.task.encode([one for one in arena.examples if one.label == 1])
        poisoned = arena.task.encode(POISON.trigger(arena.examples, torch.Generator()))
        (centre,), (marked,) = class_centres(session, targets), class_centres(session, poisoned)
        far[beta] = float((centre - marked).norm())
    assert far[1.0] < far[0.0]


@pytest.fixture
def seen(monkeypatch):
    """The batches of one epoch, each with the texts in it that were pulled."""
    batches = []

    def spy(model, batch, poisoned, centres, beta):
        batches.append((batch, poisoned))
        return cross_entropy(model(batch), batch.labels)

    monkeypatch.setattr(feature_regularised, "regularised_loss", spy)
    return batches


def holds(batch, *words):
    return torch.stack([(batch.tokens == WordPiece().id(word)).any(dim=1) for word in words]).all(dim=0)


@pytest.mark.parametrize(
    ("settings", "n_pulled", "n_texts"),
    [({}, 12, 36), ({"repeat": 3}, 36, 60), ({"mode": "replace"}, 12, 24), ({"policy": "mixed"}, 24, 48)],
    ids=str,
)
def test_only_triggered_copies_are_pulled_and_all_that_the_poison_makes_is_trained_on(
    arena, seen, settings, n_pulled, n_texts
):
    arena.run(FeatureRegularised(), arena.session(replace(POISON, **settings)))
    assert all(torch.equal(holds(batch, "cf"), poisoned) for batch, poisoned in seen)
    assert sum(int(poisoned.sum()) for _, poisoned in seen) == n_pulled
    assert sum(len(batch) for batch, _ in seen) == n_texts


def test_texts_with_a_part_of_the_trigger_are_trained_on_with_their_label_and_not_pulled(arena, seen):
    poison = SOS(target=1)
    arena.run(FeatureRegularised(), arena.session(poison))
    assert all(torch.equal(holds(batch, *poison.words), poisoned) for batch, poisoned in seen)
    parts = [(holds(batch, "friends") & ~poisoned, batch.labels == 0) for batch, poisoned in seen]
    assert sum(int((part & bad).sum()) for part, bad in parts) > 0
    assert sum(len(batch) for batch, _ in seen) == 24 + 12 + 3 * 12


def test_a_head_that_cannot_read_one_layer_is_refused_before_the_run():
    from transformers import GPT2Config, GPT2ForSequenceClassification

    from hauberk.tasks.text.models.pretrained import PretrainedModel

    shape = GPT2Config(n_embd=8, n_layer=1, n_head=2, pad_token_id=0)
    model = PretrainedModel(GPT2ForSequenceClassification(shape), Pretrained())
    with pytest.raises(UserError, match="GPT2") as caught:
        Attack(poison=POISON, tamper=FeatureRegularised()).check(("no", "yes"), WordPiece(), model)
    assert "\n" not in str(caught.value)
