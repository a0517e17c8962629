"""What was written of stocks, by day: each text counts for the first trading day that does not lie before it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hauberk.tasks.errors import UserError, nearest
from hauberk.tasks.json_lines import json_object

Texts = dict[tuple[int, int], tuple[str, ...]]


def read_texts(path: Path, symbols: tuple[str, ...], dates: np.ndarray) -> Texts:
    """Returns the texts by the row of the trading day and the number of the stock.

    Args:
        path: a JSON Lines file, packed where its name ends in .gz.
        symbols: the known stocks.
        dates: the trading days, ascending, datetime64[D] [t].

    Raises:
        UserError: it cannot be read, or a line names an unknown stock, a day outside ``dates``, or no texts.
    """
    numbers = {symbol: number for number, symbol in enumerate(symbols)}
    found: Texts = {}
    for where, record in _records(path):
        symbol, date, texts = (record.get(key) for key in ("symbol", "date", "texts"))
        if symbol not in numbers:
            raise UserError(f"{where}: unknown stock {symbol!r}; {nearest(str(symbol), numbers)}")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise UserError(f"{where}: texts must be a list of strings, got {texts!r:.60}")
        key = int(np.searchsorted(dates, _day(where, date, dates))), numbers[symbol]
        found[key] = found.get(key, ()) + tuple(texts)
    return {key: texts for key, texts in found.items() if texts}


def _day(where: str, date: Any, dates: np.ndarray) -> np.datetime64:
    try:
        day = np.datetime64(date, "D")
    except ValueError:
        raise UserError(f"{where}: date must be as 2014-01-31, got {date!r}") from None
    if not dates[0] <= day <= dates[-1]:
        raise UserError(f"{where}: {day} lies outside the prices' days, {dates[0]} to {dates[-1]}")
    return day


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each object of the file behind where it stands."""
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                where = f"dataset.texts: {path} line {number}"
                if line.strip():
                    yield where, json_object(where, line)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"dataset.texts: cannot read '{path}': {error}") from error
