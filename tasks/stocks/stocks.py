"""The task `stocks`: vectors of stocks from their prices and from what is written of them, learned by contrast.

Reconstructed from the abstract of Li et al., "No Stock is an Island", FinNLP 2022; see `models.stock_embedding`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, get_args

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.tasks.base import Metric, Task
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator
from hauberk.tasks.stocks.build_examples import build_splits, cut_of
from hauberk.tasks.stocks.datasets import DATASETS
from hauberk.tasks.stocks.encoded import (
    DayBatch,
    EncodedDays,
    EncodedHistories,
    day_batches,
    encode_days,
    encode_histories,
)
from hauberk.tasks.stocks.examples import StockDay, StockHistory, StockSplits
from hauberk.tasks.stocks.models import MODELS
from hauberk.tasks.stocks.models.stock_embedding import StockEmbedding, StockModel
from hauberk.tasks.stocks.neighbours import future_correlation, sector_information, sector_purity
from hauberk.tasks.stocks.objectives import contrastive_loss
from hauberk.tasks.stocks.panel import Panel
from hauberk.tasks.stocks.portfolios import Trading, by_cosines, measures, walk_forward
from hauberk.tasks.text.text_vectors import width_of

By = Literal["stock", "sector", "source"]
Rows = Literal["all", "own"]


class Dataset(Protocol):
    """A data set's settings: what DATASETS holds."""

    has_texts: bool

    def load(self) -> Panel:
        """Returns the whole market, the same at every call."""


@dataclass(frozen=True, kw_only=True)
class Stocks(Task):
    """Stocks' vectors, learned from the past and measured on what follows.

    Training, validation and test follow each other in time. A training example is a stock on a day: its window of
    prices up to it, and what was written on it. Validation and test examples are stocks, measured by their vectors.

    Args:
        dataset: where prices and texts come from.
        model: what learns the vectors.
        validation: share of the trading days, before those of the test, that nothing is trained on.
        test: share of the trading days, the last ones, that models are measured on.
        stride: days from one training example of a stock to its next.
        partition_by: what partitions cut by: "stock", "sector", or "source" (0: prices, 1: texts).
        rows: of whose vectors a client trains: "all", every stock is a negative; "own", those of its data alone, which
            rules then aggregate over the clients that hold them.
        n_texts: how many texts of a stock and day are read at most, the first ones.
        neighbours: how many nearest stocks are looked at.
        history: days before a rebalancing that a portfolio knows.
        rebalance: days from one rebalancing to the next.
        cost: share of the traded value that trading costs.
        n_stocks: how many stocks the data have, which ``bind`` fills in; ``None`` before.
    """

    modality: ClassVar[str] = "stocks"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("sector_purity", "sector purity", is_share=True),
        Metric("sector_information", "sector information"),
        Metric("future_correlation", "future correlation"),
        Metric("annual_return", "annual return"),
        Metric("volatility", "volatility", higher_is_better=False),
        Metric("sharpe", "Sharpe ratio"),
        Metric("max_drawdown", "largest drawdown", higher_is_better=False, is_share=True),
    )
    components: ClassVar[Mapping[str, Mapping[str, type]]] = {"dataset": DATASETS, "model": MODELS}
    bound: ClassVar[frozenset[str]] = frozenset({"n_stocks"})
    unit: ClassVar[str] = "examples"

    dataset: Dataset
    model: StockEmbedding
    validation: float = 0.15
    test: float = 0.25
    stride: int = 5
    partition_by: By = "stock"
    rows: Rows = "all"
    n_texts: int = 2
    neighbours: int = 5
    history: int = 252
    rebalance: int = 21
    cost: float = 0.001
    n_stocks: int | None = None

    def __post_init__(self) -> None:
        """Refuses settings outside their range, all of them at once."""
        rules = {
            "validation: must be a share in [0, 1)": 0 <= self.validation < 1,
            "test: must be a share in (0, 1)": 0 < self.test < 1,
            "stride: must be at least 1 day": self.stride >= 1,
            f"partition_by: must be one of {', '.join(get_args(By))}": self.partition_by in get_args(By),
            f"rows: must be one of {', '.join(get_args(Rows))}": self.rows in get_args(Rows),
            "n_texts: must be at least 0": self.n_texts >= 0,
            "neighbours: must be at least 1": self.neighbours >= 1,
            "history: must be at least 20 days": self.history >= 20,
            "rebalance: must be at least 1 day": self.rebalance >= 1,
            "cost: must be a share in [0, 1)": 0 <= self.cost < 1,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            got = ((rule, getattr(self, rule.partition(":")[0])) for rule in broken)
            raise UserError("\n".join(f"task.{rule}, got {value}" for rule, value in got))
        if self.validation + self.test >= 1:
            raise UserError(
                f"task.test: must leave days to train on, got validation={self.validation} and test={self.test}"
            )

    @property
    def sparse_tables(self) -> tuple[str, ...]:
        """The tables of vectors, where clients train the rows of their own stocks alone."""
        return () if self.rows == "all" else ("internal.weight", "relational.weight")

    @property
    def text_width(self) -> int:
        """How many numbers the vector of a text has; 0 where no texts are read."""
        return width_of(self.model.encoder) if self.dataset.has_texts and self.n_texts else 0

    def splits(self, seed: int) -> StockSplits:
        """Loads the data and reads the texts; nothing is drawn.

        Raises:
            UserError: data are missing, odd, or too short for the settings.
        """
        panel = self.dataset.load()
        return build_splits(
            panel,
            cut_of(len(panel.dates), self.validation, self.test),
            window=self.model.window,
            stride=self.stride,
            history=self.history,
            by=self.partition_by,
            n_texts=self.n_texts,
            encoder=self.model.encoder,
        )

    def bind(self, splits: StockSplits) -> Stocks:
        """Returns this task with the number of stocks."""
        return replace(self, n_stocks=len(splits.labels))

    def encode(self, examples: Sequence[StockDay | StockHistory]) -> EncodedDays | EncodedHistories:
        """Returns examples, all of one kind, as arrays."""
        histories = [example for example in examples if isinstance(example, StockHistory)]
        if histories:
            return encode_histories(histories)
        days = [example for example in examples if isinstance(example, StockDay)]
        return encode_days(days, self.model.window, self.text_width)

    def concatenate(self, parts: Sequence[EncodedDays | EncodedHistories]) -> EncodedDays | EncodedHistories:
        """Joins encoded examples of one kind, in order."""
        some: Any = parts
        return type(some[0]).joined(some)

    def partition_keys(self, encoded: EncodedDays) -> np.ndarray:
        """Returns the number of each example's stock, sector or source, int64 [n]."""
        return encoded.key

    def build(self, seed: int) -> StockModel:
        """Returns a new model; ValueError where the task knows no number of stocks, as ``bind`` gives it."""
        if self.n_stocks is None:
            raise ValueError("A model needs the number of stocks: bind the task to its splits first.")
        return self.model.build(self.n_stocks, self.text_width, generator(seed, "model"))

    def batches(
        self, encoded: EncodedDays, batch_size: int, rng: torch.Generator | None = None
    ) -> Iterator[DayBatch]:
        """Yields every example once, day after day in a random order of the days; without ``rng`` in their own."""
        return day_batches(encoded, batch_size, rng)

    def loss(self, model: nn.Module, batch: DayBatch) -> Tensor:
        """Returns the sum of the contrastive objectives, a float32 scalar."""
        stocks: Any = model
        return contrastive_loss(stocks, batch, own=self.rows == "own")

    @torch.no_grad()
    def predict(
        self,
        model: nn.Module,
        encoded: EncodedDays | EncodedHistories,
        *,
        batch_size: int = 128,
        precision: str = "float32",
        device: str = "cpu",
    ) -> Tensor:
        """Returns the vector e = [u; r] of each example's stock, float32 [n, 2 k]."""
        return model(torch.from_numpy(encoded.stock).to(device)).float().cpu()

    def score(self, predictions: Tensor, encoded: EncodedHistories) -> dict[str, float]:
        """Returns what vectors [n, 2 k] of different stocks know of sectors, of later returns, and as a portfolio."""
        cosines = cosines_of(predictions)
        start = int(encoded.start[0])
        returns = encoded.returns.T
        return {
            "sector_purity": sector_purity(cosines, encoded.sector, self.neighbours),
            "sector_information": sector_information(cosines, encoded.sector),
            "future_correlation": future_correlation(cosines, returns[start:]),
            **measures(self.portfolio(cosines, encoded)),
        }

    def portfolio(self, cosines: np.ndarray, encoded: EncodedHistories) -> np.ndarray:
        """Returns the daily returns after costs, [t], of the mean-variance portfolio of vectors' cosines [n, n]."""
        trading = Trading(history=self.history, rebalance=self.rebalance, cost=self.cost)
        days = walk_forward(encoded.returns.T, int(encoded.start[0]), by_cosines(cosines), trading)
        return np.array([daily for daily, _ in days])


def cosines_of(vectors: Tensor) -> np.ndarray:
    """Returns how near each two of the vectors [n, d] are, float64 [n, n]."""
    unit = nn.functional.normalize(vectors.double(), dim=1)
    return (unit @ unit.T).clamp(-1, 1).numpy()
