"""skfolio: closing prices of 20 large US companies, 1990 to 2022, from the package skfolio; no texts."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

import numpy as np

from hauberk.tasks.errors import UserError
from hauberk.tasks.package_data import checked_file
from hauberk.tasks.stocks.panel import Panel

FILE = "datasets/data/sp500_dataset.csv.gz"
SHA256 = "ee21cac28befb1d0a739a9ceb22184f995394726aa0cfde9a21941d1ac04ac0d"
# The package has no sectors; these are those of the Global Industry Classification Standard.
SECTORS = {
    "AAPL": "Information Technology",
    "AMD": "Information Technology",
    "BAC": "Financials",
    "BBY": "Consumer Discretionary",
    "CVX": "Energy",
    "GE": "Industrials",
    "HD": "Consumer Discretionary",
    "JNJ": "Health Care",
    "JPM": "Financials",
    "KO": "Consumer Staples",
    "LLY": "Health Care",
    "MRK": "Health Care",
    "MSFT": "Information Technology",
    "PEP": "Consumer Staples",
    "PFE": "Health Care",
    "PG": "Consumer Staples",
    "RRC": "Energy",
    "UNH": "Health Care",
    "WMT": "Consumer Staples",
    "XOM": "Energy",
}


@dataclass(frozen=True, kw_only=True)
class Skfolio:
    """Adjusted closing prices of 20 stocks of the S&P 500; ranges, volumes and texts are not known.

    Args:
        start: the first day used, as "2012-01-01".
        end: the last day used.
    """

    start: str = "2012-01-01"
    end: str = "2022-12-31"
    has_texts = False

    def __post_init__(self) -> None:
        """Refuses what is no date."""
        for key in ("start", "end"):
            try:
                np.datetime64(getattr(self, key), "D")
            except ValueError:
                raise UserError(
                    f"dataset.{key}: must be a date as 2012-01-31, got '{getattr(self, key)}'"
                ) from None

    def load(self) -> Panel:
        """Returns the prices from ``start`` to ``end``.

        Raises:
            UserError: the package is missing or another one than was pinned, or no day lies in between.
        """
        import pandas as pd

        content = checked_file("skfolio", FILE, SHA256).read_bytes()
        table = pd.read_csv(BytesIO(content), compression="gzip", index_col=0, parse_dates=True)
        table = table.loc[self.start : self.end]
        if table.empty:
            raise UserError(f"dataset: skfolio has no day from {self.start} to {self.end}, but 1990 to 2022")
        symbols = tuple(map(str, table.columns))
        return Panel(
            symbols=symbols,
            sectors=tuple(SECTORS[symbol] for symbol in symbols),
            dates=table.index.to_numpy().astype("datetime64[D]"),
            close=table.to_numpy(np.float64),
        )
