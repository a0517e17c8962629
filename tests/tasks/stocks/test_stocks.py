"""The task itself: what it learns on a small market, how it is cut, and where its data come from."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hauberk.tasks import Stocks
from hauberk.tasks.seeds import generator
from hauberk.tasks.stocks.datasets import DATASETS, Skfolio
from hauberk.tasks.stocks.datasets.skfolio import SECTORS
from hauberk.tasks.stocks.models import StockEmbedding
from hauberk.tasks.stocks.neighbours import sector_purity
from hauberk.tasks.stocks.stocks import cosines_of

SMALL = StockEmbedding(dimension=8, hidden=8, window=20, top=0.3)


def task_of(market, **settings):
    return Stocks(dataset=market, model=SMALL, validation=0.2, test=0.2, history=60, rebalance=60, **settings)


def trained(task, splits, epochs=15):
    """Returns the stocks' vectors after some epochs, and the stocks."""
    task = task.bind(splits)
    encoded, model = task.encode(splits.train), task.build(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(epochs):
        for batch in task.batches(encoded, 64, generator(epoch, "order")):
            optimizer.zero_grad()
            task.loss(model, batch).backward()
            optimizer.step()
    tested = task.encode(splits.test)
    return task.predict(model, tested), tested


def test_related_stocks_come_near(market):
    task = task_of(replace(market, texts=None))
    vectors, tested = trained(task, task.splits(0))
    assert sector_purity(cosines_of(vectors[:, SMALL.dimension :]), tested.sector, 3) > 0.9


@pytest.mark.parametrize(("by", "keys"), [("stock", range(8)), ("sector", (0, 1)), ("source", (0, 1))])
def test_what_partitions_cut_by(market, by, keys):
    task = task_of(market, partition_by=by, n_texts=1)
    task = replace(task, stride=40)
    splits = task.splits(0)
    encoded = task.encode(splits.train)
    assert set(task.partition_keys(encoded).tolist()) == set(keys)
    assert encoded.has_text.any()
    if by == "source":
        assert np.array_equal(encoded.has_prices, encoded.key == 0)
        assert np.array_equal(encoded.has_text, encoded.key == 1)
    else:
        assert encoded.has_prices.all()
    assert [example.index for example in splits.train] == list(range(len(splits.train)))


def test_batches_hold_whole_days(market):
    task = task_of(replace(market, texts=None))
    encoded = task.encode(task.splits(0).train)
    batches = list(task.batches(encoded, 16, generator(0, "order")))
    assert all(len(batch.day.unique()) == 2 for batch in batches if len(batch) == 16)


def test_the_embedded_market_has_twenty_stocks_with_a_sector_each():
    panel = DATASETS["skfolio"](start="2020-01-01").load()
    assert len(panel.symbols) == len(SECTORS) == 20
    assert panel.texts == {}
    assert not Skfolio().has_texts
    assert str(panel.dates[0]) == "2020-01-02"
    assert np.isfinite(panel.close).all()


def test_a_stock_that_was_not_traded_in_training_is_not_measured(market):
    panel = market.load()
    from hauberk.tasks.stocks.build_examples import build_splits, cut_of

    close = panel.close.copy()
    close[:200, 2] = np.nan
    splits = build_splits(
        replace(panel, close=close), cut_of(300, 0.2, 0.2),
        window=20, stride=5, history=60, by="stock", n_texts=0, encoder="",
    )  # fmt: skip
    assert [history.symbol for history in splits.test] == ["AA", "AB", "AD", "BA", "BB", "BC", "BD"]
    assert len(splits.labels) == 8
