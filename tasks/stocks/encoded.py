"""Days and histories of stocks as arrays, and days in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from hauberk.tasks.stocks.examples import StockDay, StockHistory
from hauberk.tasks.stocks.windows import N_FEATURES


class Rows:
    """Arrays of which each has a row for an example; for a dataclass."""

    def __len__(self) -> int:
        first: Any = fields(self)[0]  # type: ignore[arg-type]
        return len(getattr(self, first.name))

    def take(self, rows: Any) -> Self:
        """Returns the examples at ``rows``, in that order; a row may be asked for more than once."""
        rows = np.asarray(rows, dtype=np.int64)
        return type(self)(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})  # type: ignore[arg-type]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Returns the examples of all parts, in order."""
        names = [each.name for each in fields(cls)]  # type: ignore[arg-type]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedDays(Rows):
    """Days of stocks.

    Attributes:
        stock, day, key, index: as in `StockDay`, int64 [n].
        series: float32 [n, window, 3]; 0 where there are no prices.
        residual: float32 [n, window]; likewise.
        text: float32 [n, width]; 0 where there are no texts.
        has_prices, has_text: bool [n].
    """

    stock: np.ndarray
    day: np.ndarray
    key: np.ndarray
    index: np.ndarray
    series: np.ndarray
    residual: np.ndarray
    text: np.ndarray
    has_prices: np.ndarray
    has_text: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedHistories(Rows):
    """Whole stocks: ``stock``, ``sector``, ``start``, ``index`` int64 [n] and ``returns`` float64 [n, days]."""

    stock: np.ndarray
    sector: np.ndarray
    start: np.ndarray
    index: np.ndarray
    returns: np.ndarray


@dataclass(frozen=True, kw_only=True)
class DayBatch:
    """Some days as tensors; the attributes are those of `EncodedDays`."""

    stock: Tensor
    day: Tensor
    series: Tensor
    residual: Tensor
    text: Tensor
    has_prices: Tensor
    has_text: Tensor

    def __len__(self) -> int:
        return len(self.stock)

    def to(self, device: torch.device | str) -> DayBatch:
        """Returns the batch on ``device``."""
        return DayBatch(**{each.name: getattr(self, each.name).to(device) for each in fields(self)})


def encode_days(examples: Sequence[StockDay], window: int, width: int) -> EncodedDays:
    """Returns days as arrays of windows of ``window`` days and texts of ``width`` numbers."""
    numbers = {
        name: np.array([getattr(example, name) for example in examples], np.int64)
        for name in ("stock", "day", "key", "index")
    }
    shapes = {"series": (window, N_FEATURES), "residual": (window,), "text": (width,)}
    arrays = {}
    for name, shape in shapes.items():
        arrays[name] = np.zeros((len(examples), *shape), np.float32)
        for row, example in enumerate(examples):
            if getattr(example, name) is not None:
                arrays[name][row] = getattr(example, name)
    known = {
        "has_prices": np.array([example.series is not None for example in examples], bool),
        "has_text": np.array([example.text is not None for example in examples], bool),
    }
    return EncodedDays(**numbers, **arrays, **known)


def encode_histories(examples: Sequence[StockHistory]) -> EncodedHistories:
    """Returns whole stocks as arrays."""
    numbers = {
        name: np.array([getattr(example, name) for example in examples], np.int64)
        for name in ("stock", "sector", "start", "index")
    }
    return EncodedHistories(**numbers, returns=np.array([example.returns for example in examples]))


def day_batches(
    encoded: EncodedDays, batch_size: int, rng: torch.Generator | None = None
) -> Iterator[DayBatch]:
    """Yields every example once: day after day in a random order of the days, so that a batch holds whole days."""
    days, which = np.unique(encoded.day, return_inverse=True)
    n = len(encoded)
    if rng is None:
        place, within = np.arange(len(days)), np.arange(n)
    else:
        place = torch.randperm(len(days), generator=rng).numpy()
        within = torch.randperm(n, generator=rng).numpy()
    order = np.lexsort((within, place[which]))
    names = [each.name for each in fields(DayBatch)]
    for at in range(0, n, batch_size):
        part = encoded.take(order[at : at + batch_size])
        yield DayBatch(**{name: torch.from_numpy(getattr(part, name)) for name in names})
