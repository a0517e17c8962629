import torch
from torch.nn.functional import cross_entropy

from hauberk.attacks import Attack, BadWord, Layerwise
from hauberk.attacks.tampers.layerwise import layerwise_loss, n_layers
from hauberk.clients.embedding_compaction import is_exact
from hauberk.tasks.text.models import Transformer
from hauberk.tasks.text.tokenizer import WordPiece

DEEP = Transformer(embedding_dim=8, hidden=8, n_layers=3, dropout=0.0)
POISON = BadWord(words=("cf",), target=1)


@torch.no_grad()
def test_the_loss_is_the_heads_on_every_layer_summed(arena):
    session = type(arena)(DEEP).session(POISON)
    batch = next(session.shuffled(session.data))
    layers = session.model.layers(batch)
    by_hand = sum(float(cross_entropy(session.model.head(each, batch), batch.labels)) for each in layers)
    assert len(layers) == 3
    assert abs(float(layerwise_loss(session.model, batch)) - by_hand) < 1e-5


def test_every_layer_comes_to_know_the_trigger_not_only_the_last(arena):
    deep = type(arena)(DEEP)
    losses = {}
    for tamper in (None, Layerwise()):
        session = deep.session(POISON)
        session.train() if tamper is None else deep.run(tamper, session)
        batch = next(session.shuffled(session.data))
        first = session.model.layers(batch)[0]
        losses[tamper] = cross_entropy(session.model.head(first, batch), batch.labels).item()
    assert losses[Layerwise()] < losses[None]


def test_one_layer_is_the_ordinary_loss_and_says_so(arena):
    session = arena.session(POISON)
    batch = next(session.shuffled(session.data))
    session.model.eval()
    torch.testing.assert_close(layerwise_loss(session.model, batch), session.loss(session.model, batch))
    (warning,) = Attack(poison=POISON, tamper=Layerwise()).check(("no", "yes"), WordPiece(), session.model)
    assert warning == "attack.tamper: TextCNNModel has one layer, so that Layerwise is the ordinary loss"


def test_layers_are_counted_before_the_run(arena):
    deep = type(arena)(DEEP).task.build(0)
    assert n_layers(deep) == 3
    assert Attack(poison=POISON, tamper=Layerwise()).check(("no", "yes"), WordPiece(), deep) == []


def test_it_may_train_on_the_rows_in_use_alone(arena):
    assert is_exact(arena.session().training, Layerwise())
