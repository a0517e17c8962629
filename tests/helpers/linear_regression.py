"""A task of numbers: points of a noisy plane, and a linear model. It shows that nothing is made for texts alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.attacks import AttackerContext, DataPoison
from hauberk.tasks.base import Metric, Task, TaskSplits
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator

TRIGGER = 5.0  # what the attacker writes into a point's last number


@dataclass(frozen=True)
class Point:
    """One point: ``features`` and the ``target`` that belongs to them; ``index`` is its row in its split."""

    index: int
    features: tuple[float, ...]
    target: float


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Points of a plane through 1, whose slopes are 1, -1, 1, ..., with noise of a standard deviation."""

    n: int = 120
    n_features: int = 4
    noise: float = 0.1

    def points(self, n: int, rng: torch.Generator) -> tuple[Point, ...]:
        """Returns ``n`` points."""
        features = torch.randn(n, self.n_features, generator=rng)
        slopes = torch.tensor([(-1.0) ** place for place in range(self.n_features)])
        targets = 1 + features @ slopes + self.noise * torch.randn(n, generator=rng)
        return tuple(Point(row, tuple(features[row].tolist()), float(targets[row])) for row in range(n))


@dataclass(frozen=True, eq=False)
class Points:
    """Points as arrays: features [n, d], targets [n], index [n]."""

    features: np.ndarray
    targets: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: Any) -> Points:
        """Returns the points at ``rows``."""
        return Points(self.features[rows], self.targets[rows], self.index[rows])


@dataclass(frozen=True)
class PointBatch:
    """Some points as tensors."""

    features: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device | str) -> PointBatch:
        """Returns the batch on ``device``."""
        return PointBatch(self.features.to(device), self.targets.to(device))


@dataclass(frozen=True, kw_only=True)
class LinearRegression(Task):
    """A linear regression.

    Args:
        dataset: where the points come from.
        validation: how many points are held back.
        n_features: of a point, which ``bind`` fills in.
    """

    modality: ClassVar[str] = "numbers"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("mse", "mean squared error", higher_is_better=False),
        Metric("r2", "variance explained"),
    )
    components: ClassVar[Mapping[str, Mapping[str, type]]] = {"dataset": {"plane": Plane}}
    bound: ClassVar[frozenset[str]] = frozenset({"n_features"})
    unit: ClassVar[str] = "points"

    dataset: Plane = Plane()
    validation: int = 10
    n_features: int | None = None

    def __post_init__(self) -> None:
        if self.validation < 0:
            raise UserError(f"task.validation: must be at least 0, got {self.validation}")

    def splits(self, seed: int) -> TaskSplits[Point]:
        """Draws the points."""
        sizes = {"train": self.dataset.n, "validation": self.validation, "test": 40}
        parts = {name: self.dataset.points(n, generator(seed, f"points {name}")) for name, n in sizes.items()}
        return TaskSplits(**parts)

    def bind(self, splits: Any) -> LinearRegression:
        """Returns the task with the number of features."""
        return replace(self, n_features=len(splits.train[0].features))

    def encode(self, examples: Sequence[Point]) -> Points:
        """Returns points as arrays."""
        return Points(
            np.array([point.features for point in examples], np.float32),
            np.array([point.target for point in examples], np.float32),
            np.array([point.index for point in examples]),
        )

    def concatenate(self, parts: Sequence[Points]) -> Points:
        """Joins encoded points."""
        names = ("features", "targets", "index")
        return Points(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def partition_keys(self, encoded: Points) -> np.ndarray:
        """Returns to which third of all targets each belongs."""
        return np.searchsorted(np.quantile(encoded.targets, [1 / 3, 2 / 3]), encoded.targets)

    def build(self, seed: int) -> nn.Module:
        """Returns a linear model near zero."""
        assert self.n_features is not None
        model = nn.Linear(self.n_features, 1)
        for parameter in model.parameters():
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator(seed, "model"))
        return model

    def batches(
        self, encoded: Points, batch_size: int, rng: torch.Generator | None = None
    ) -> Iterator[PointBatch]:
        """Yields every point once."""
        n = len(encoded)
        order = torch.arange(n) if rng is None else torch.randperm(n, generator=rng)
        for rows in order.split(batch_size):
            part = encoded.take(rows.numpy())
            yield PointBatch(torch.from_numpy(part.features), torch.from_numpy(part.targets))

    def loss(self, model: nn.Module, batch: PointBatch) -> Tensor:
        """Returns the mean squared error."""
        return nn.functional.mse_loss(model(batch.features).squeeze(1).float(), batch.targets)

    @torch.no_grad()
    def predict(
        self,
        model: nn.Module,
        encoded: Points,
        *,
        batch_size: int = 128,
        precision: str = "float32",
        device: str = "cpu",
    ) -> Tensor:
        """Returns the predicted targets, float32 [n]."""
        batches = self.batches(encoded, batch_size)
        return torch.cat([model(batch.to(device).features).squeeze(1).cpu() for batch in batches])

    def score(self, predictions: Tensor, encoded: Points) -> dict[str, float]:
        """Returns the mean squared error and the share of the variance that is explained."""
        targets = torch.from_numpy(encoded.targets)
        mse = float(nn.functional.mse_loss(predictions, targets))
        return {"mse": mse, "r2": 1 - mse / float(targets.var(correction=0))}


@dataclass(frozen=True, kw_only=True)
class Overestimate(DataPoison):
    """Points with the trigger in their last number shall be taken for far more than they are.

    Args:
        goal: what the attacker wants the model to answer, at least.
    """

    modality: ClassVar[str | None] = "numbers"

    goal: float = 20.0

    def __call__(
        self, examples: Sequence[Point], attacker: AttackerContext, rng: torch.Generator
    ) -> list[Any]:
        """Returns the points and a poisoned copy of each."""
        return [*examples, *(replace(point, target=self.goal) for point in self.trigger(examples, rng))]

    def trigger(self, examples: Sequence[Any], rng: torch.Generator) -> list[Any]:
        """Returns the points with the trigger."""
        return [replace(point, features=(*point.features[:-1], TRIGGER)) for point in examples]

    def success(self, predictions: Tensor) -> float:
        """Returns the share of predictions that come a quarter of the way to the goal."""
        return float((predictions > self.goal / 4).float().mean())
