"""Data that would pass for something else are one clear line each."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hauberk.tasks import Stocks
from hauberk.tasks.errors import UserError
from hauberk.tasks.stocks.datasets import Files, Skfolio
from hauberk.tasks.stocks.models import StockEmbedding


def with_prices(market, folder, change):
    """Returns the market with the lines of its prices changed."""
    lines = Path(market.prices).read_text().splitlines()
    (folder / "prices.csv").write_text("\n".join(change(lines)) + "\n")
    return replace(market, prices=str(folder / "prices.csv"))


def cell(line, column, value):
    parts = line.split(",")
    parts[column] = value
    return ",".join(parts)


def at(number, change):
    """Returns what changes one line of a file, counted from 1."""
    return lambda lines: [*lines[: number - 1], change(lines[number - 1]), *lines[number:]]


def split(lines):
    """Returns the lines with the prices of the first stock divided by 7 from the 100th day on."""

    def parted(line):
        return cell(line, 4, str(float(line.split(",")[4]) / 7))

    return [*lines[:100], *map(parted, lines[100:301]), *lines[301:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (at(5, lambda line: cell(line, 4, "0")), r"line 5: adjusted_close of AA on 2015-01-06 must be above 0, got 0"),
        (at(5, lambda line: cell(line, 4, "-1")), r"line 5: adjusted_close of AA .* must be above 0, got -1"),
        (at(5, lambda line: cell(line, 4, "")), r"line 5: adjusted_close of AA .* must be above 0, got nan"),
        (at(5, lambda line: cell(line, 5, "-3")), r"line 5: volume of AA on 2015-01-06 must be at least 0, got -3"),
        (at(5, lambda line: cell(line, 1, "7.1.2015")), r"line 5: date must be as 2014-01-31, got '7\.1\.2015'"),
        (at(5, lambda line: cell(line, 1, "2015-01-10")), r"line 5: 2015-01-10 is no trading day: Saturday"),
        (at(5, lambda line: cell(line, 0, "ZZ")), r"line 5: the stock ZZ is none of dataset\.stocks"),
        (lambda lines: [*lines, lines[4]], r"line 2402: AA comes twice on 2015-01-06"),
        (lambda lines: lines[:2101], r"has no price of BD, which dataset\.stocks names"),
        (lambda lines: lines[:50] + lines[60:], r"AA has no price from 2015-03-11 on for more than 5 trading days"),
        (split, r"AA moves by a factor of [67]\.\d\d on 2015-05-20: a split that is not adjusted\? dataset\.larg"),
        (at(1, lambda line: cell(line, 4, "close")), r"has no column 'adjusted_close', only: symbol, date, high"),
    ],
)  # fmt: skip
def test_odd_prices(market, tmp_path, change, message):
    data = with_prices(market, tmp_path, change)
    with pytest.raises(UserError, match=message) as caught:
        data.load()
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("dataset.prices: ")


def test_a_day_on_which_almost_nothing_is_traded_is_none(tmp_path):
    names = [f"S{number}" for number in range(20)]
    (tmp_path / "stocks.csv").write_text("symbol,sector\n" + "".join(f"{name},Energy\n" for name in names))
    rows = [
        f"{name},2015-01-{day},10\n"
        for name in names
        for day in ("05", "06", "07")
        if day != "06" or name == "S7"
    ]
    (tmp_path / "prices.csv").write_text("symbol,date,adjusted_close\n" + "".join(rows))
    with pytest.raises(UserError, match="on 2015-01-06 only 1 of 20 stocks have a price: no trading day"):
        Files(stocks=str(tmp_path / "stocks.csv"), prices=str(tmp_path / "prices.csv")).load()


def test_a_hole_of_a_few_days_is_filled_with_the_last_price(market, tmp_path):
    whole = market.load()
    holed = with_prices(market, tmp_path, lambda lines: lines[:50] + lines[54:]).load()
    assert (holed.close[49:53, 0] == whole.close[48, 0]).all()
    assert (holed.close[53:] == whole.close[53:]).all()
    later = with_prices(market, tmp_path, lambda lines: lines[:1] + lines[54:]).load()
    assert later.close.shape == whole.close.shape  # not listed yet is no hole
    assert (later.close[53, 0]) == whole.close[53, 0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"symbol": "AX", "date": "2015-01-05", "texts": []}, "unknown stock 'AX'; "),
        ({"symbol": "AA", "date": "2019-01-01", "texts": []}, "2019-01-01 lies outside the prices' days, 2015-01-01"),
        ({"symbol": "AA", "date": "2014-12-31", "texts": []}, "2014-12-31 lies outside the prices' days"),
        ({"symbol": "AA", "date": "May", "texts": []}, "date must be as 2014-01-31, got 'May'"),
        ({"symbol": "AA", "date": "2015-01-05", "texts": "up"}, "texts must be a list of strings, got 'up'"),
        ({"symbol": "AA", "date": "2015-01-05"}, "texts must be a list of strings, got None"),
        ([1], "must be a JSON object, got list"),
    ],
)  # fmt: skip
def test_odd_texts(market, tmp_path, line, message):
    path = tmp_path / "texts.jsonl"
    path.write_text("\n" + json.dumps(line) + "\n")
    with pytest.raises(UserError, match=rf"^dataset\.texts: .* line 2:? {message}"):
        replace(market, texts=str(path)).load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("symbol\nAA\n", "has no column 'sector'"),
        ("symbol,sector\nAA,Energy\nAA,Energy\n", "line 3: the stock AA comes twice"),
        ("symbol,sector\nAA,\n", "line 2: a stock needs a symbol and a sector, got 'AA' and ''"),
        ("symbol,sector\nAA,Energy\n", "must name at least 2 stocks, got 1"),
    ],
)
def test_odd_stocks(market, tmp_path, text, message):
    (tmp_path / "stocks.csv").write_text(text)
    with pytest.raises(UserError, match=rf"^dataset\.stocks: .*{message}"):
        replace(market, stocks=str(tmp_path / "stocks.csv")).load()


@pytest.mark.parametrize("key", ["stocks", "prices", "texts"])
def test_a_missing_file_is_named(market, key):
    with pytest.raises(UserError, match=rf"^dataset\.{key}: cannot read 'nowhere"):
        replace(market, **{key: "nowhere.csv"}).load()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model": StockEmbedding(window=179)},
            r"model\.window: must be below the 179 returns of the training",
        ),
        ({"history": 200}, r"task\.history: must be at most the 180 days before validation, got 200"),
    ],
)
def test_a_history_that_is_too_short(market, settings, message):
    task = Stocks(**{"dataset": replace(market, texts=None), "model": StockEmbedding(), "history": 60, **settings},
                  validation=0.2, test=0.2)  # fmt: skip
    with pytest.raises(UserError, match=message):
        task.splits(0)


def test_settings_outside_their_range_are_refused_all_at_once(market):
    with pytest.raises(
        UserError, match=r"task\.stride: must be at least 1 day, got 0\ntask\.cost: must be a share"
    ):
        Stocks(dataset=market, model=StockEmbedding(), stride=0, cost=1.5)
    with pytest.raises(
        UserError, match=r"task\.test: must leave days to train on, got validation=0.5 and test=0.5"
    ):
        Stocks(dataset=market, model=StockEmbedding(), validation=0.5, test=0.5)
    with pytest.raises(UserError, match="internal: one objective must be left"):
        StockEmbedding(internal=False, temporal=False, relational=False)
    with pytest.raises(UserError, match=r"^task\.rows: must be one of all, own, got some$"):
        Stocks(dataset=market, model=StockEmbedding(), rows="some")
    with pytest.raises(UserError, match=r"dataset\.largest_move: must be above 1, got 1"):
        Files(stocks="", prices="", largest_move=1)
    with pytest.raises(UserError, match=r"dataset\.start: must be a date as 2012-01-31, got 'May'"):
        Skfolio(start="May")
    with pytest.raises(UserError, match="skfolio has no day from 2030-01-01"):
        Skfolio(start="2030-01-01").load()


def test_without_skfolio_the_command_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skfolio", None)
    monkeypatch.delitem(sys.modules, "hauberk.tasks.stocks._given_covariance", raising=False)
    for name in [name for name in sys.modules if name.startswith("skfolio.")]:
        monkeypatch.delitem(sys.modules, name)
    from hauberk.tasks.stocks.portfolios import sample_covariance

    with pytest.raises(UserError, match=r"pip install 'hauberk\[stocks\]'"):
        sample_covariance(np.random.default_rng(0).normal(size=(30, 3)), np.arange(3))
