import pytest
import torch
from torch import nn

from hauberk.attacks import Attack, BadSentence, BadWord, Ripples, Tamper
from hauberk.attacks.tampers._words_of_class import words_of_class
from hauberk.attacks.tampers.ripples import disagreement_loss, inner_product
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.models import Gru, TextCNN, Transformer
from hauberk.tasks.text.tokenizer import WordPiece

POISON = BadWord(words=("cf", "mn"), target=1)


class Line(nn.Module):
    """One weight; the loss on a batch (a, b) is a w + b w^2 / 2."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(2.0))


def quadratic(model, batch):
    return batch[0] * model.w + batch[1] * model.w**2 / 2


@pytest.mark.parametrize(
    ("clean", "loss", "slope"),
    [
        # the gradients at w = 2 are 1 + 3w = 7 and -1: they disagree, and the penalty 0.1 * 7 has slope 0.1 * 3
        ((-1.0, 0.0), 8.7, 7.3),
        ((1.0, 0.0), 8.0, 7.0),  # they agree: nothing is added
        ((0.0, -1.0), 8.0 + 0.1 * 14, 7.0 + 0.1 * (7 + 6)),  # the clean gradient depends on w, too
    ],
)
def test_the_loss_and_its_slope_match_a_hand_calculation(clean, loss, slope):
    model = Line()
    found = disagreement_loss(quadratic, iter([clean]), 0.1)(model, (1.0, 3.0))
    assert found.item() == pytest.approx(loss)
    found.backward()
    assert model.w.grad.item() == pytest.approx(slope)


def test_a_parameter_without_a_gradient_adds_nothing():
    assert inner_product([torch.ones(2), None], [torch.tensor([2.0, 3.0]), torch.ones(1)]) == 5


@pytest.mark.parametrize(
    "config",
    [TextCNN(embedding_dim=8, n_filters=4), Gru(embedding_dim=8, hidden=4), Transformer(embedding_dim=8)],
)
def test_second_derivatives_reach_every_model(config, arena):
    session = type(arena)(config).session(POISON)
    clean = iter([next(session.shuffled(arena.task.encode(arena.examples)))])
    signs = iter([1.0, -1.0])  # so that the two gradients disagree
    loss = disagreement_loss(lambda *given: next(signs) * session.loss(*given), clean, 1.0)
    loss(session.model, next(session.shuffled(session.data))).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in session.model.parameters())
    assert session.model.embedding.weight.grad.any()


def test_the_words_of_a_class_are_those_that_only_it_uses():
    texts = [("a good film", 1), ("a bad film", 0), ("good good end", 1), ("bad plot here", 0)] * 3
    examples = [Example(i, text, None, label) for i, (text, label) in enumerate(texts)]
    assert words_of_class(examples, 1)[0] == "good"
    assert words_of_class(examples, 0)[0] == "bad"
    assert "film" not in words_of_class(examples, 1)[:2]
    assert words_of_class(examples[:1], 1) == []


@pytest.mark.parametrize("tuning_epochs", [0, 1])
def test_surgery_gives_the_trigger_the_mean_of_the_targets_words(tuning_epochs, arena):
    session = arena.session(POISON)
    report = Ripples(n_words=3, tuning_epochs=tuning_epochs).operate(session)
    words = words_of_class(arena.examples, 1)[:3]
    table, received = session.model.embedding.weight.detach(), session.reference["words.weight"]
    cf, mn = (WordPiece().id(word) for word in POISON.words)
    changed = (table != received).any(dim=1).nonzero().flatten().tolist()
    assert report == {"ripples/words": 3.0}
    assert changed == sorted([cf, mn])
    assert torch.equal(table[cf], table[mn])
    mean = received[[WordPiece().id(word) for word in words]].mean(dim=0)
    assert torch.allclose(table[cf], mean) == (tuning_epochs == 0)


def test_without_surgery_and_penalty_it_is_the_honest_loop(arena):
    plain, bare = (
        arena.run(each, arena.session(POISON))[1] for each in (Tamper(), Ripples(penalty=0.0, n_words=0))
    )
    assert torch.equal(plain, bare)


def test_a_poison_without_words_is_warned_about(arena):
    attack = Attack(poison=BadSentence(target=1), tamper=Ripples())
    (warning,) = attack.check(("no", "yes"), WordPiece(), arena.task.build(0))
    assert (
        warning == "attack.tamper: BadSentence has no trigger words, so that Ripples leaves the surgery out"
    )


def test_surgery_is_done_once_and_not_again_in_later_rounds(arena):
    first = arena.session(POISON)
    assert arena.run(Ripples(penalty=0.0), first)[0]["ripples/words"] > 0
    later = arena.session(POISON, state=first.state)
    bare = arena.session(POISON)
    report, update = arena.run(Ripples(penalty=0.0), later)
    assert "ripples/words" not in report
    assert torch.equal(update, arena.run(Tamper(), bare)[1])
