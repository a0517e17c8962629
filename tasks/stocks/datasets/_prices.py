"""A table of prices is read and checked: every mistake that would pass for a movement of the market is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hauberk.tasks.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

NEEDED = ("symbol", "date", "adjusted_close")
KNOWN = ("adjusted_close", "high", "low", "volume")
LONGEST_GAP = 5  # trading days without a price in a row that are filled with the last one
SATURDAY = 5
TRADED = 0.1  # below this share of the listed stocks a day is none of the market's


def read_prices(path: Path) -> pd.DataFrame:
    """Returns the rows of a CSV file, with the dates as datetime64.

    Raises:
        UserError: it cannot be read, lacks a column, or a date or a number is none.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype={"symbol": str, "date": str}, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise UserError(f"dataset.prices: cannot read '{path}': {' '.join(str(error).split())}") from error
    for name in NEEDED:
        if name not in table:
            raise UserError(f"dataset.prices: {path} has no column '{name}', only: {', '.join(table)}")
    dates = pd.to_datetime(table["date"], format="%Y-%m-%d", errors="coerce")
    _refuse(path, table, dates.isna(), "date must be as 2014-01-31, got {date!r}")
    numbers = {name: pd.to_numeric(table[name], errors="coerce") for name in KNOWN if name in table}
    for name, values in numbers.items():
        bad = values.isna() | ~np.isfinite(values) | (values < 0 if name == "volume" else values <= 0)
        least = "at least 0" if name == "volume" else "above 0"
        _refuse(path, table, bad, f"{name} of {{symbol}} on {{date}} must be {least}, got {{{name}}}")
    return table[["symbol"]].assign(date=dates, **numbers)


def columns_of(
    path: str, table: pd.DataFrame, symbols: tuple[str, ...], largest_move: float
) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    """Returns the trading days [t], and each column of ``table`` as float64 [t, n]; gaps of a few days are filled.

    Raises:
        UserError: a stock is unknown, has no price, several on a day, or none for long; a day is none of the market's;
            a price moves by more than ``largest_move``.
    """
    _refuse(Path(path), table, ~table["symbol"].isin(symbols), "the stock {symbol} is none of dataset.stocks")
    _refuse(
        Path(path), table, table.duplicated(["symbol", "date"]), "{symbol} comes twice on {date:%Y-%m-%d}"
    )
    _refuse(
        Path(path),
        table,
        table["date"].dt.dayofweek >= SATURDAY,
        "{date:%Y-%m-%d} is no trading day: {date:%A}",
    )
    missing = sorted(set(symbols) - set(table["symbol"]))
    if missing:
        raise UserError(f"dataset.prices: {path} has no price of {missing[0]}, which dataset.stocks names")
    wide = {
        name: table.pivot(index="date", columns="symbol", values=name)[list(symbols)].sort_index()
        for name in KNOWN
        if name in table
    }
    dates = wide["adjusted_close"].index.to_numpy().astype("datetime64[D]")
    prices = {name: frame.to_numpy(np.float64) for name, frame in wide.items()}
    close = prices["adjusted_close"]
    _refuse_quiet_days(path, dates, close)
    filled = {name: _filled(path, dates, symbols, values) for name, values in prices.items()}
    _refuse_moves(path, dates, symbols, filled["adjusted_close"], largest_move)
    return dates, filled


def listed(close: np.ndarray) -> np.ndarray:
    """Returns whether a day lies between a stock's first price and its last, bool [t, n]."""
    known = np.isfinite(close)
    return np.logical_or.accumulate(known, 0) & np.logical_or.accumulate(known[::-1], 0)[::-1]


def _refuse_quiet_days(path: str, dates: np.ndarray, close: np.ndarray) -> None:
    traded, wanted = np.isfinite(close).sum(1), listed(close).sum(1)
    for day in np.flatnonzero(traded < TRADED * wanted)[:1]:
        raise UserError(
            f"dataset.prices: {path}: on {dates[day]} only {traded[day]} of {wanted[day]} stocks have a price: "
            "no trading day?"
        )


def _filled(path: str, dates: np.ndarray, symbols: tuple[str, ...], values: np.ndarray) -> np.ndarray:
    """Returns the values with the last known one where a stock has none for at most LONGEST_GAP days."""
    holes, filled = listed(values) & ~np.isfinite(values), values.copy()
    run = np.zeros(values.shape[1], dtype=int)
    for day in np.flatnonzero(holes.any(1).cumsum() > 0):
        run = np.where(holes[day], run + 1, 0)
        if run.max(initial=0) > LONGEST_GAP:
            stock = int(run.argmax())
            first = dates[day - run[stock] + 1]
            raise UserError(
                f"dataset.prices: {path}: {symbols[stock]} has no price from {first} on for more than {LONGEST_GAP} "
                "trading days"
            )
        filled[day, holes[day]] = filled[day - 1, holes[day]]
    return filled


def _refuse_moves(
    path: str, dates: np.ndarray, symbols: tuple[str, ...], close: np.ndarray, largest: float
) -> None:
    with np.errstate(invalid="ignore"):
        moves = np.exp(np.abs(np.diff(np.log(close), axis=0)))
    for day, stock in np.argwhere(moves > largest)[:1]:
        raise UserError(
            f"dataset.prices: {path}: {symbols[stock]} moves by a factor of {moves[day, stock]:.2f} on "
            f"{dates[day + 1]}: a split that is not adjusted? dataset.largest_move = {largest}"
        )


def _refuse(path: Path, table: pd.DataFrame, bad: pd.Series, line: str) -> None:
    """Raises UserError with the first row of ``table`` that is ``bad``, and its line in the file."""
    for position in np.flatnonzero(bad.to_numpy())[:1]:
        row = table.iloc[int(position)]
        raise UserError(f"dataset.prices: {path} line {position + 2}: {line.format(**row.to_dict())}")
