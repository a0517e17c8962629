"""The three objectives by hand, and that each does what it is for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from hauberk.tasks.stocks.encoded import DayBatch
from hauberk.tasks.stocks.models import StockEmbedding
from hauberk.tasks.stocks.objectives import (
    contrastive_loss,
    internal_loss,
    related_stocks,
    relational_loss,
    temporal_loss,
)

CONFIG = StockEmbedding(dimension=4, hidden=3, window=6, top=0.34)


@pytest.fixture
def model():
    return CONFIG.build(5, 2, torch.Generator().manual_seed(0))


def batch_of(stocks, days, *, prices=True, text=True):
    """Returns a batch of random windows and texts."""
    rng, n = torch.Generator().manual_seed(1), len(stocks)
    return DayBatch(
        stock=torch.tensor(stocks), day=torch.tensor(days),
        series=torch.randn(n, 6, 3, generator=rng), residual=torch.randn(n, 6, generator=rng),
        text=torch.randn(n, 2, generator=rng),
        has_prices=torch.full((n,), prices), has_text=torch.full((n,), text),
    )  # fmt: skip


def nce(anchor, candidates, positive):
    """Returns -log of the positive's share, of vectors one by one."""
    weights = [torch.exp(normalize(anchor, dim=0) @ normalize(one, dim=0) / 0.1).item() for one in candidates]
    return -np.log(weights[positive] / sum(weights))


def test_internal_is_the_info_nce_of_windows_and_texts_against_all_stocks(model):
    batch = batch_of([3, 1], [7, 9])
    states = model.window_states(batch.series)
    table = list(model.internal.weight)
    views = [*model.lasting_price(states), *model.lasting_text(batch.text)]
    by_hand = np.mean([nce(view, table, stock) for view, stock in zip(views, [3, 1, 3, 1], strict=True)])
    assert internal_loss(model, batch, states, torch.arange(5)).item() == pytest.approx(by_hand, rel=1e-5)


def test_own_negatives_are_the_stocks_of_the_batch(model):
    batch = batch_of([3, 1], [7, 9], text=False)
    states = model.window_states(batch.series)
    table = [model.internal.weight[1], model.internal.weight[3]]
    by_hand = np.mean([nce(v, table, p) for v, p in zip(model.lasting_price(states), [1, 0], strict=True)])
    assert internal_loss(model, batch, states, torch.tensor([1, 3])).item() == pytest.approx(
        by_hand, rel=1e-5
    )
    contrastive_loss(model, batch_of([3, 1], [7, 7]), own=True).backward()
    for table in (model.internal, model.relational):
        assert (
            table.weight.grad.abs().sum(1).nonzero().flatten().tolist() == [1, 3] or table is model.relational
        )
        assert not table.weight.grad[[0, 2, 4]].any()


def test_temporal_compares_a_stocks_days_and_leaves_the_tables_alone(model):
    batch = batch_of([2, 2, 4], [1, 2, 1])
    states = model.window_states(batch.series)
    prices, texts = model.temporary_price(states), model.temporary_text(batch.text)
    pairs = [
        (prices[0], texts[:2], 0),
        (prices[1], texts[:2], 1),
        (texts[0], prices[:2], 0),
        (texts[1], prices[:2], 1),
    ]
    loss = temporal_loss(model, batch, states)
    assert loss.item() == pytest.approx(np.mean([nce(*pair) for pair in pairs]), rel=1e-5)
    loss.backward()
    assert model.internal.weight.grad is None
    assert model.relational.weight.grad is None


def test_related_are_the_most_correlated_of_the_same_day():
    move, other = torch.tensor([1.0, -1, 2, 0, 1, 3]), torch.tensor([2.0, 2, -1, 1, 0, 0])
    batch = replace(
        batch_of([0, 1, 2, 3, 0], [5, 5, 5, 5, 6]),
        residual=torch.stack([move, 2 * move + 1, other, 3 * other, move]),
    )
    related = related_stocks(batch, top=0.34)
    assert related.nonzero().tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]


def test_relational_is_the_info_nce_of_related_stocks(model):
    move, other = torch.tensor([1.0, -1, 2, 0, 1, 3]), torch.tensor([2.0, 2, -1, 1, 0, 0])
    batch = replace(batch_of([0, 1, 2, 3], [5] * 4), residual=torch.stack([move, 2 * move, other, 3 * other]))
    table = model.relational.weight
    partner = {0: 1, 1: 0, 2: 3, 3: 2}
    by_hand = []
    for stock, friend in partner.items():
        others = [one for one in range(5) if one != stock]
        by_hand.append(nce(table[stock], table[others], others.index(friend)))
    assert relational_loss(model, batch, torch.arange(5)).item() == pytest.approx(np.mean(by_hand), rel=1e-5)


@pytest.mark.parametrize("name", ["internal", "temporal", "relational"])
def test_an_objective_is_switched_off(model, name):
    batch = batch_of([0, 1, 2, 0, 1, 2], [5, 5, 5, 6, 6, 6])
    whole = contrastive_loss(model, batch).item()
    model.config = replace(
        CONFIG, **dict.fromkeys(["internal", "temporal", "relational"], False) | {name: True}
    )
    alone = contrastive_loss(model, batch).item()
    model.config = replace(CONFIG, **{name: False})
    assert contrastive_loss(model, batch).item() == pytest.approx(whole - alone, rel=1e-5)


@pytest.mark.parametrize("batch", [
    batch_of([3], [1]), batch_of([3], [1], text=False), batch_of([3, 3], [1, 2], prices=False),
], ids=["one day", "prices alone", "texts alone"])  # fmt: skip
def test_what_has_nothing_to_be_compared_with_still_has_a_loss_and_finite_gradients(model, batch):
    loss = contrastive_loss(model, batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_vectors_are_of_length_one_and_both_halves_count_alike(model):
    vectors = model(torch.arange(5))
    assert vectors.shape == (5, 8)
    assert torch.allclose((vectors[:, :4] ** 2).sum(1), torch.full((5,), 0.5))
    assert torch.allclose(vectors.norm(dim=1), torch.ones(5))
