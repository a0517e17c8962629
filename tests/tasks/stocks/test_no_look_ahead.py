"""Nothing that is trained on knows what came after its day."""

from dataclasses import fields, replace

import numpy as np
import pytest

from hauberk.tasks.digest import digest_of
from hauberk.tasks.stocks.build_examples import build_splits, cut_of
from hauberk.tasks.stocks.panel import Panel

SETTINGS = {
    "window": 20, "stride": 3, "history": 40, "by": "stock", "n_texts": 0, "encoder": "embedded:minilm-l6",
}  # fmt: skip


@pytest.fixture(scope="module")
def panel(market) -> Panel:
    return market.load()


def changed_from(panel, day):
    """Returns the panel with other prices and volumes from a day on."""
    rng = np.random.default_rng(1)

    def other(values):
        return np.vstack([values[:day], values[day:] * rng.uniform(0.8, 1.2, values[day:].shape)])

    columns = {name: other(getattr(panel, name)) for name in ("close", "high", "low", "volume")}
    return replace(panel, **columns)


def test_training_examples_do_not_depend_on_what_follows_the_training_period(panel):
    cut = cut_of(len(panel.dates), 0.2, 0.2)
    assert (cut.validation, cut.test, cut.end) == (180, 240, 300)
    before = build_splits(panel, cut, **SETTINGS)
    after = build_splits(changed_from(panel, cut.validation), cut, **SETTINGS)
    assert digest_of(before.train) == digest_of(after.train)
    assert digest_of(before.validation) != digest_of(after.validation)


@pytest.mark.parametrize("day", [60, 111, 150])
def test_an_example_does_not_depend_on_any_day_after_its_own(panel, day):
    cut = cut_of(len(panel.dates), 0.2, 0.2)
    pairs = zip(
        build_splits(panel, cut, **SETTINGS).train,
        build_splits(changed_from(panel, day), cut, **SETTINGS).train,
        strict=True,
    )
    for one, other in pairs:
        assert (one.stock, one.day) == (other.stock, other.day)
        same = np.array_equal(one.series, other.series) and np.array_equal(one.residual, other.residual)
        assert same == (one.day < day)


def test_texts_are_those_of_the_day_or_of_days_without_trading_before_it(market, panel, tmp_path):
    monday = panel.dates[10]
    while monday.astype(object).weekday() != 0:
        monday = np.busday_offset(monday, 1)
    sunday = monday - np.timedelta64(1, "D")
    lines = [f'{{"symbol": "AA", "date": "{day}", "texts": ["{day}"]}}\n' for day in (sunday, monday)]
    (tmp_path / "texts.jsonl").write_text("".join(lines))
    row = int(np.searchsorted(panel.dates, monday))
    assert replace(market, texts=str(tmp_path / "texts.jsonl")).load().texts == {
        (row, 0): (str(sunday), str(monday))
    }


def test_later_periods_begin_where_earlier_ones_end_and_know_their_past(panel):
    cut = cut_of(len(panel.dates), 0.2, 0.2)
    splits = build_splits(panel, cut, **SETTINGS)
    assert max(day.day for day in splits.train) < cut.validation
    for part, first, end in ((splits.validation, 180, 240), (splits.test, 240, 300)):
        assert [history.start for history in part] == [40] * 8
        expected = panel.close[first - 40 : end, 3] / panel.close[first - 41 : end - 1, 3] - 1
        assert part[3].returns == pytest.approx(expected)


def test_every_attribute_of_an_example_is_looked_at_here(panel):
    day = build_splits(panel, cut_of(300, 0.2, 0.2), **SETTINGS).train[0]
    assert {field.name for field in fields(day)} == {
        "index", "symbol", "stock", "day", "key", "series", "residual", "text",
    }  # fmt: skip
