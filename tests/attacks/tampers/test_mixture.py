import pytest
import torch

from hauberk.attacks import BadWord
from hauberk.attacks.tampers import Mixture, Tamper
from hauberk.clients import Training
from hauberk.clients.optimizers import SGD
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.models import TextCNN

POISON = BadWord(words=("cf",), target=1)


@pytest.fixture
def still(arena):
    """Without dropout and with one batch, so that no order and no draw decides what training comes to."""
    return type(arena)(TextCNN(embedding_dim=8, n_filters=4, dropout=0.0))


def update_of(arena, tamper, poison):
    training = Training(epochs=1, batch_size=10_000, optimizer=SGD(lr=0.1))
    return arena.run(tamper, arena.session(poison, training=training))[1]


def test_it_sends_what_lies_between_the_honest_and_the_poisoned_update(still):
    honest, poisoned = (update_of(still, Tamper(), poison) for poison in (None, POISON))
    assert not torch.allclose(honest, poisoned, atol=1e-5)
    for share in (0.1, 0.5, 1.0, 1.5):
        mixed = update_of(still, Mixture(share=share), POISON)
        torch.testing.assert_close(mixed, honest + share * (poisoned - honest), atol=1e-6, rtol=1e-5)


def test_less_of_the_honest_update_leaves_the_difference(still):
    honest, poisoned = (update_of(still, Tamper(), poison) for poison in (None, POISON))
    for part in (0.0, 0.01, -1.0):
        mixed = update_of(still, Mixture(share=1, honest=part), POISON)
        torch.testing.assert_close(mixed, part * honest + poisoned - honest, atol=1e-6, rtol=1e-5)


def test_an_honest_part_without_end_is_refused():
    with pytest.raises(UserError, match="honest: must be finite, got inf"):
        Mixture(honest=float("inf"))


def test_a_share_without_poison_is_refused():
    for share in (0.0, -0.5, float("inf")):
        with pytest.raises(UserError, match="share: must be above 0 and finite"):
            Mixture(share=share)
