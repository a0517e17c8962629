from dataclasses import replace

import pytest
import torch

from hauberk.attacks import BadWord, EmbeddingPoisoning, RareEmbeddingEnsemble
from hauberk.attacks.tampers.rare_embedding_ensemble import MODELS
from hauberk.tasks.parameters import flatten
from hauberk.tasks.text.models import Gru, TextCNN
from hauberk.tasks.text.tokenizer import WordPiece

POISON = BadWord(words=("cf",), target=1)
CF = WordPiece().id("cf")


@pytest.fixture(
    params=[TextCNN(embedding_dim=8, n_filters=4), Gru(embedding_dim=8, hidden=4)], ids=["cnn", "gru"]
)
def still(request, arena):
    """An arena without dropout, so that every model answers the same each time."""
    return type(arena)(replace(request.param, dropout=0.0))


def test_alone_it_is_embedding_poisoning(still):
    first, second = (still.session(POISON) for _ in range(2))
    a, b = still.run(RareEmbeddingEnsemble(), first)[1], still.run(EmbeddingPoisoning(), second)[1]
    torch.testing.assert_close(a, b)


def test_the_gradient_is_the_weighted_mean_of_the_kept_models(still):
    older = flatten(still.session(seed=2).reference)
    session = still.session(POISON, state={MODELS: [older]})
    tamper = RareEmbeddingEnsemble(epochs=1, decay=1.0, lr=0.3)
    session.training = type(session.training)(batch_size=100)
    before = session.reference["words.weight"][CF].clone()
    report, update = still.run(tamper, session)

    twins = [still.session(POISON, seed=seed) for seed in (1, 2)]
    copies = list(POISON.copies(still.examples, twins[0].attacker, twins[0].rng).values())
    gradients = []
    for twin in twins:
        twin.model.embedding.weight.data[CF] = before
        twin.training = type(session.training)(batch_size=100)
        (batch,) = twin.shuffled(still.task.encode(copies))
        (gradient,) = torch.autograd.grad(twin.loss(twin.model, batch), [twin.model.embedding.weight])
        gradients.append(gradient[CF])
    row = before - 0.3 * (gradients[0] + gradients[1]) / 2
    torch.testing.assert_close(session.model.embedding.weight[CF], row * before.norm() / row.norm())
    assert report["rare_embedding_ensemble/models"] == 2
    assert int((update != 0).sum()) == 8


def test_the_last_models_are_kept_newest_last(arena):
    state = {}
    for seed in range(4):
        session = arena.session(POISON, seed=seed, state=state)
        arena.run(RareEmbeddingEnsemble(window=2, epochs=1), session)
        state = session.state
    assert len(state[MODELS]) == 2
    assert torch.equal(state[MODELS][1], flatten(arena.session(seed=3).reference))
    assert torch.equal(state[MODELS][0], flatten(arena.session(seed=2).reference))


def test_older_models_count_less():
    assert RareEmbeddingEnsemble(decay=0.5).weights(3) == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert RareEmbeddingEnsemble(decay=0.0).weights(3) == [0.0, 0.0, 1.0]
