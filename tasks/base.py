"""The contract of a task: data, how they become numbers and batches, a model, a loss, and what a model is worth.

Whoever trains, aggregates, records or draws works with any task and knows none by name.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Example = TypeVar("Example", covariant=True)


@dataclass(frozen=True)
class Metric:
    """One figure that tells what a model is worth.

    Attributes:
        name: its key in records.
        label: its name for readers.
        higher_is_better: the direction.
        is_share: whether it lies in [0, 1], so that it shares an axis with others that do.
    """

    name: str
    label: str
    higher_is_better: bool = True
    is_share: bool = False

    def text(self, value: float | None) -> str:
        """Returns ``value`` as it is shown: three digits behind the point, four in all where it is no share."""
        if value is None:
            return "-"
        return f"{value:.3f}" if self.is_share else f"{value:.4g}"


@dataclass(frozen=True, kw_only=True)
class TaskSplits(Generic[Example]):
    """The parts of a task's data, each a tuple of the task's own examples.

    Attributes:
        labels: the names of the classes by their numbers; empty where examples have no classes.
    """

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...] = ()


class EncodedExamples(Protocol):
    """Examples as numbers: picklable, one row an example."""

    def __len__(self) -> int: ...

    def take(self, rows: Any) -> Self:
        """Returns the examples at ``rows``, in that order; a row may be asked for more than once."""


class ExampleBatch(Protocol):
    """Some examples as tensors of one device."""

    def __len__(self) -> int: ...

    def to(self, device: torch.device | str) -> Self:
        """Returns the batch on ``device``."""


class Task(Protocol):
    """What is learned; a frozen dataclass whose fields are its settings, and its section of a spec.

    Attributes:
        modality: of what its data are: "text", "graph", "stocks", "numbers"; what works on some data alone says so.
        metrics: what `score` computes; the first is the primary one.
        components: the settings that name something, each with the table of what it can name.
        bound: the fields that `bind` fills in, which are no settings.
        provides: what beside the updates it can give to an aggregator: "logits" where it has `random_inputs`.
        unit: what one example is, in the plural, for readers.
    """

    modality: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    components: ClassVar[Mapping[str, Mapping[str, type]]] = {}
    bound: ClassVar[frozenset[str]] = frozenset()
    provides: ClassVar[frozenset[str]] = frozenset()
    unit: ClassVar[str] = "examples"

    @property
    def tokenizer(self) -> Any:
        """What turns texts into token ids; None for a task that reads no texts."""
        return None

    @property
    def slow_imports(self) -> tuple[str, ...]:
        """The modules that `build` needs and that take seconds to import, so that a process can begin with them."""
        return ()

    @property
    def sparse_tables(self) -> tuple[str, ...]:
        """The tensors of which a client trains the rows of its own data alone, and has no word of the others."""
        return ()

    @abstractmethod
    def splits(self, seed: int) -> TaskSplits[Any]:
        """Loads the data; every random choice depends on ``seed`` alone.

        Raises:
            UserError: if data are missing, unreadable or empty.
        """

    def bind(self, splits: Any) -> Self:
        """Returns this task with what a model must know of the data, such as how many classes they have."""
        return self

    @abstractmethod
    def encode(self, examples: Sequence[Any]) -> EncodedExamples:
        """Returns examples as numbers."""

    @abstractmethod
    def concatenate(self, parts: Sequence[Any]) -> EncodedExamples:
        """Joins what `encode` returned, in order."""

    @abstractmethod
    def partition_keys(self, encoded: Any) -> np.ndarray:
        """Returns what partitions cut by, such as each example's class, int64 [n]."""

    @abstractmethod
    def build(self, seed: int) -> nn.Module:
        """Returns a new model; its initial weights are a function of the bound task and ``seed`` alone."""

    @abstractmethod
    def batches(self, encoded: Any, batch_size: int, rng: torch.Generator | None = None) -> Iterator[Any]:
        """Yields every example once in batches: for training in an order drawn from ``rng``, else in any fixed one."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Returns what training minimises: the mean loss of the examples of ``batch``, a float32 scalar."""

    @abstractmethod
    def predict(
        self,
        model: nn.Module,
        encoded: Any,
        *,
        batch_size: int = 128,
        precision: str = "float32",
        device: str = "cpu",
    ) -> Tensor:
        """Returns the model's answer to each example, on the CPU, first dimension n, in the order of the rows.

        The model computes in eval mode and is as before afterwards. An answer depends on its own example alone.
        """

    def prediction_shards(self, encoded: Any, n: int, *, batch_size: int = 128) -> list[np.ndarray]:
        """Returns the rows of at most ``n`` parts of ``encoded``, each row in one of them.

        What `predict` answers to a part alone is, bit for bit, what it answers to these rows among all: whoever has
        several machines gives each a part. By default there is but one.
        """
        return [np.arange(len(encoded))]

    @abstractmethod
    def score(self, predictions: Tensor, encoded: Any) -> dict[str, float]:
        """Returns the value of each of ``metrics`` by name, for what `predict` returned of ``encoded``."""

    def evaluate(
        self, model: nn.Module, encoded: Any, *, precision: str = "float32", device: str = "cpu"
    ) -> dict[str, float]:
        """Returns what ``model`` is worth on ``encoded``: the value of each of ``metrics`` by name."""
        return self.score(self.predict(model, encoded, precision=precision, device=device), encoded)

    def embedding_rows(self, encoded: Any) -> np.ndarray | None:
        """Returns the rows of ``model.embedding`` that a model reads on ``encoded``, int [k], each at least once.

        None where that is not known: then no row is ever left out of training.
        """
        return None

    def trigger_warnings(self, clean: Any, triggered: Any) -> list[str]:
        """Returns a line where an encoding hides what was put into examples, such as behind what it cuts off.

        Args:
            clean: the encoded originals.
            triggered: the same with a trigger in each.
        """
        return []

    def random_inputs(self, n: int, model: nn.Module, rng: torch.Generator) -> EncodedExamples:
        """Returns ``n`` meaningless inputs for rules that look at a model's answers; where "logits" is provided."""
        task = type(self).__name__  # a body of `raise` alone would make it abstract to mypy
        raise NotImplementedError(f"{task} has no random inputs.")
