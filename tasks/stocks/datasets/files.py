"""files: the user's own stocks, prices and texts."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hauberk.tasks.errors import UserError
from hauberk.tasks.stocks.datasets._prices import columns_of, read_prices
from hauberk.tasks.stocks.datasets._texts import read_texts
from hauberk.tasks.stocks.panel import Panel

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class Files:
    """Stocks, prices and texts, each in a file; a name that ends in .gz is unpacked.

    Args:
        stocks: a CSV file with the columns symbol and sector, one line a stock.
        prices: a CSV file with the columns symbol, date and adjusted_close, and as far as they are known high, low
            and volume; one line a stock and trading day.
        texts: a JSON Lines file of objects ``{"symbol": str, "date": str, "texts": [str, ...]}``.
        largest_move: by which factor a price may change in a day; more is taken for a split that is not adjusted.
    """

    stocks: str
    prices: str
    texts: str | None = None
    largest_move: float = 2.5

    def __post_init__(self) -> None:
        """Refuses a factor that every day exceeds."""
        if not self.largest_move > 1:
            raise UserError(f"dataset.largest_move: must be above 1, got {self.largest_move}")

    @property
    def has_texts(self) -> bool:
        """Whether there are any texts."""
        return self.texts is not None

    def load(self) -> Panel:
        """Reads the files.

        Raises:
            UserError: naming the file and what is wrong with it.
        """
        sectors = read_stocks(Path(self.stocks))
        symbols = tuple(sectors)
        dates, columns = columns_of(self.prices, read_prices(Path(self.prices)), symbols, self.largest_move)
        return Panel(
            symbols=symbols,
            sectors=tuple(sectors.values()),
            dates=dates,
            close=columns["adjusted_close"],
            high=columns.get("high"),
            low=columns.get("low"),
            volume=columns.get("volume"),
            texts=self._texts(symbols, dates),
        )

    def _texts(self, symbols: tuple[str, ...], dates: np.ndarray) -> dict[tuple[int, int], tuple[str, ...]]:
        return {} if self.texts is None else read_texts(Path(self.texts), symbols, dates)


def read_stocks(path: Path) -> dict[str, str]:
    """Returns the sector of each symbol, in the order of the file; UserError where that says nothing, or twice."""
    sectors: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            for name in ("symbol", "sector"):
                if name not in (reader.fieldnames or []):
                    raise UserError(f"dataset.stocks: {path} has no column '{name}'")
            for row in reader:
                _add(sectors, row, f"dataset.stocks: {path} line {reader.line_num}")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"dataset.stocks: cannot read '{path}': {error}") from error
    if len(sectors) < 2:
        raise UserError(f"dataset.stocks: {path} must name at least 2 stocks, got {len(sectors)}")
    return sectors


def _add(sectors: dict[str, str], row: dict[str, str], where: str) -> None:
    symbol, sector = row["symbol"], row["sector"]
    if not symbol or not sector:
        raise UserError(f"{where}: a stock needs a symbol and a sector, got '{symbol}' and '{sector}'")
    if symbol in sectors:
        raise UserError(f"{where}: the stock {symbol} comes twice")
    sectors[symbol] = sector
