"""A small market: two sectors, each with a movement of its own, and texts that name the sector's goods."""

from __future__ import annotations

import json

import numpy as np

SYMBOLS = ("AA", "AB", "AC", "AD", "BA", "BB", "BC", "BD")
GOODS = {"A": "crude oil barrels", "B": "new phones and apps"}


def small_market(folder, n_days=300, seed=0):
    """Writes stocks.csv, prices.csv and texts.jsonl and returns them as a data set's table."""
    rng = np.random.default_rng(seed)
    days = np.busday_offset("2015-01-01", np.arange(n_days), roll="forward").astype(str)
    common, sector = rng.normal(0, 0.005, n_days), rng.normal(0, 0.01, (2, n_days))
    stocks, prices, texts = ["symbol,sector"], ["symbol,date,high,low,adjusted_close,volume"], []
    for number, symbol in enumerate(SYMBOLS):
        stocks.append(f"{symbol},{'Energy' if number < 4 else 'Technology'}")
        moves = common + sector[number // 4] + rng.normal(0, 0.005, n_days)
        for day, price in zip(days, 50 * np.exp(np.cumsum(moves)), strict=True):
            prices.append(
                f"{symbol},{day},{1.01 * price:.4f},{0.99 * price:.4f},{price:.4f},{rng.integers(100, 200)}"
            )
        texts += [
            {"symbol": symbol, "date": day, "texts": [f"{symbol} {GOODS[symbol[0]]}"]} for day in days[1::2]
        ]
    (folder / "stocks.csv").write_text("\n".join(stocks) + "\n")
    (folder / "prices.csv").write_text("\n".join(prices) + "\n")
    (folder / "texts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in texts))
    return {
        "name": "files",
        "stocks": str(folder / "stocks.csv"),
        "prices": str(folder / "prices.csv"),
        "texts": str(folder / "texts.jsonl"),
    }
