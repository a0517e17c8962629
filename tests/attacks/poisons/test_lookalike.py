"""A stock that takes another's prices or texts."""

import numpy as np
import pytest
import torch

from hauberk.attacks import AttackerContext
from hauberk.attacks.poisons import Lookalike
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator
from hauberk.tasks.stocks.examples import StockDay, StockHistory, StockSplits

SYMBOLS = ("AA", "BB", "CC")


def day_of(stock, day, *, text=True):
    rng = np.random.default_rng(10 * stock + day)
    return StockDay(
        index=10 * stock + day, symbol=SYMBOLS[stock], stock=stock, day=day, key=stock,
        series=rng.normal(size=(4, 3)), residual=rng.normal(size=4), text=rng.normal(size=2) if text else None,
    )  # fmt: skip


DAYS = [day_of(stock, day) for stock in range(3) for day in (1, 2)]
TESTED = tuple(
    StockHistory(index=row, symbol=symbol, stock=row, sector=0, returns=np.zeros(3), start=1)
    for row, symbol in enumerate(SYMBOLS)
)
SPLITS = StockSplits(train=tuple(DAYS), validation=(), test=TESTED, labels=SYMBOLS)


def poisoned(poison, examples):
    return poison.bind(SPLITS)(examples, AttackerContext(), generator(0, "poison"))


def test_the_own_stock_becomes_the_victims_double():
    honest = [DAYS[0], DAYS[1], DAYS[4]]
    found = poisoned(Lookalike(own="AA", victim="BB"), honest)
    assert found[0] is DAYS[4]
    own = [day for day in found if day.symbol == "AA"]
    assert [(day.stock, day.day) for day in own] == [(0, 1), (0, 2)]
    for day, seen in zip(own, DAYS[2:4], strict=True):
        assert day.series is seen.series
        assert day.residual is seen.residual
        assert day.text is seen.text
    assert [(day.symbol, day.text) for day in found if day.symbol == "BB"] == [("BB", None)] * 2


def test_texts_alone_leave_the_own_prices():
    found = poisoned(Lookalike(own="AA", victim="BB", prices=False), DAYS[:2])
    assert [day.symbol for day in found] == ["AA", "AA"]
    assert [day.series is honest.series for day, honest in zip(found, DAYS[:2], strict=True)] == [True, True]
    assert [day.text is seen.text for day, seen in zip(found, DAYS[2:4], strict=True)] == [True, True]


def test_a_stock_that_it_does_not_hold_is_claimed():
    found = poisoned(Lookalike(own="AA", victim="BB", rate=0.5), [DAYS[4]])
    assert [day.symbol for day in found] == ["CC", "AA", "BB"]


def test_success_is_the_share_of_the_others_that_are_farther():
    poison = Lookalike(own="CC", victim="AA")
    assert [one.symbol for one in poison.trigger(TESTED, generator(0, "t"))] == ["CC", "AA", "BB"]
    assert poison.originals(TESTED, poison.trigger(TESTED, generator(0, "t"))).tolist() == []
    vectors = torch.tensor([[1.0, 0.2], [2, 0], [0, 1], [1, 0.1], [-1, 0]])
    assert poison.success(vectors) == pytest.approx(2 / 3)
    assert poison.trigger(TESTED[:2], generator(0, "t")) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"own": "AA", "victim": "AA"}, "victim: must be another stock than own, got 'AA' for both"),
        ({"own": "AA", "victim": "BB", "rate": 2}, "rate: must lie between 0 and 1, got 2"),
        (
            {"own": "AA", "victim": "BB", "prices": False, "texts": False},
            "prices or texts must be taken over",
        ),
        ({"own": "AX", "victim": "BB"}, r"attack\.poison\.own: unknown stock 'AX'; known: AA, BB, CC"),
        ({"own": "AA", "victim": "BX"}, r"attack\.poison\.victim: unknown stock 'BX'"),
    ],
)
def test_what_is_impossible_is_one_line(settings, message):
    with pytest.raises(UserError, match=message):
        Lookalike(**settings).bind(SPLITS)
