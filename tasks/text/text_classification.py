"""Text classification: a data set, a model, and how texts become numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.tasks.base import Metric, Task
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.batches import Batch, evaluation_batches, evaluation_shards, training_batches
from hauberk.tasks.text.datasets import DATASETS
from hauberk.tasks.text.encoding import Encoded, concatenate
from hauberk.tasks.text.examples import Example, RawSplits, Splits, labels_of
from hauberk.tasks.text.loss import cross_entropy
from hauberk.tasks.text.metrics import accuracy, macro_f1, predict
from hauberk.tasks.text.models import MODELS
from hauberk.tasks.text.models.base import ModelConfig, TextModel
from hauberk.tasks.text.random_texts import random_texts
from hauberk.tasks.text.tokenizer import Tokenizer
from hauberk.tasks.text.word_rows import word_table

FEW = 0.01  # a share of unseen triggers that no warning is worth


class Dataset(Protocol):
    """A data set's settings: what DATASETS holds."""

    def load(self) -> RawSplits:
        """Returns all of its examples, the same at every call."""


@dataclass(frozen=True, kw_only=True)
class TextClassification(Task):
    """A text classification task.

    Args:
        dataset: where the texts come from.
        model: what learns them.
        max_length: tokens kept of a text.
        validation: share of the training data held back where the data set has no validation part.
        n_train: how many training examples are used, drawn at random; ``None`` for all.
        n_classes: how many classes the data have, which ``bind`` fills in; ``None`` before.
    """

    modality: ClassVar[str] = "text"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("accuracy", "accuracy", is_share=True),
        Metric("macro_f1", "macro F1", is_share=True),
    )
    components: ClassVar[Mapping[str, Mapping[str, type]]] = {"dataset": DATASETS, "model": MODELS}
    bound: ClassVar[frozenset[str]] = frozenset({"n_classes"})
    provides: ClassVar[frozenset[str]] = frozenset({"logits"})
    unit: ClassVar[str] = "texts"

    dataset: Dataset
    model: ModelConfig
    max_length: int = 64
    validation: float = 0.1
    n_train: int | None = None
    n_classes: int | None = None

    def __post_init__(self) -> None:
        """Refuses settings outside their range, all of them at once."""
        rules = {
            "max_length: must be at least 5 tokens": self.max_length >= 5,
            "validation: must be a share in [0, 1)": 0 <= self.validation < 1,
            "n_train: must be at least 1 example": self.n_train is None or self.n_train >= 1,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            got = ((rule, getattr(self, rule.partition(":")[0])) for rule in broken)
            raise UserError("\n".join(f"task.{rule}, got {value}" for rule, value in got))

    def splits(self, seed: int) -> Splits:
        """Loads the data; what is held back for validation and what ``n_train`` takes depend on ``seed``.

        Raises:
            UserError: if a part is missing, unreadable or empty, or its labels are not classes.
        """
        raw = self.dataset.load()
        train, validation = raw.train, raw.validation
        if validation is None:
            train, validation = held_back(raw.train, self.validation, generator(seed, "validation"))
        train = self._taken(train, generator(seed, "n_train"))
        return Splits(train=train, validation=validation, test=raw.test, labels=raw.labels)

    def _taken(self, train: tuple[Example, ...], rng: torch.Generator) -> tuple[Example, ...]:
        if self.n_train is None:
            return train
        if self.n_train > len(train):
            raise UserError(
                f"task.n_train: must be at most the {len(train)} training examples, got {self.n_train}"
            )
        return tuple(
            train[row] for row in sorted(torch.randperm(len(train), generator=rng)[: self.n_train].tolist())
        )

    @property
    def tokenizer(self) -> Tokenizer:
        """Whose ids the model reads."""
        return self.model.tokenizer()

    @property
    def slow_imports(self) -> tuple[str, ...]:
        """The model's own, where it has any."""
        return getattr(self.model, "slow_imports", ())

    def encode(self, examples: Sequence[Example]) -> Encoded:
        """Returns the examples as token ids with their labels and indices."""
        seconds = [example.second for example in examples]
        pairs = any(second is not None for second in seconds)
        encoded = self.tokenizer.encode(
            [example.text for example in examples], seconds if pairs else None, self.max_length
        )
        index = np.fromiter((example.index for example in examples), dtype=np.int64, count=len(examples))
        return encoded.labelled(labels_of(examples), index)

    def concatenate(self, parts: Sequence[Encoded]) -> Encoded:
        """Joins encoded texts, in order."""
        return concatenate(parts)

    def partition_keys(self, encoded: Encoded) -> np.ndarray:
        """Returns the classes, int64 [n]."""
        return encoded.labels

    def batches(
        self, encoded: Encoded, batch_size: int, rng: torch.Generator | None = None
    ) -> Iterator[Batch]:
        """Yields every text once, in batches of texts of like length; without ``rng`` the shortest first."""
        if rng is None:
            return evaluation_batches(encoded, batch_size)
        return training_batches(encoded, batch_size, rng)

    def bind(self, splits: Splits) -> TextClassification:
        """Returns this task with what a model must know of the data: how many classes they have."""
        return replace(self, n_classes=len(splits.labels))

    def build(self, seed: int) -> TextModel:
        """Returns a new model; its initial weights are a function of the settings and ``seed`` alone.

        Raises:
            ValueError: if the task knows no number of classes, as ``bind`` gives it.
        """
        if self.n_classes is None:
            raise ValueError("A model needs the number of classes: bind the task to its splits first.")
        return self.model.build(self.n_classes, generator(seed, "model"))

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Returns the mean cross entropy of ``model`` on ``batch``, a float32 scalar."""
        return cross_entropy(model, batch)

    def predict(
        self,
        model: nn.Module,
        encoded: Encoded,
        *,
        batch_size: int = 128,
        precision: str = "float32",
        device: str = "cpu",
    ) -> Tensor:
        """Returns the logits, float32 [n, n_classes] on the CPU, in the order of the rows."""
        return predict(model, encoded, batch_size=batch_size, precision=precision, device=device)

    def prediction_shards(self, encoded: Encoded, n: int, *, batch_size: int = 128) -> list[np.ndarray]:
        """Returns the rows of at most ``n`` parts, each of whole batches of `predict`."""
        return evaluation_shards(encoded, batch_size, n)

    def score(self, predictions: Tensor, encoded: Encoded) -> dict[str, float]:
        """Returns accuracy and macro F1 of logits [n, n_classes]."""
        return {
            "accuracy": accuracy(predictions, encoded.labels),
            "macro_f1": macro_f1(predictions, encoded.labels),
        }

    def embedding_rows(self, encoded: Encoded) -> np.ndarray:
        """Returns the token ids of the texts and of padding, int [k]."""
        return np.append(encoded.tokens, encoded.pad_id)

    def trigger_warnings(self, clean: Encoded, triggered: Encoded) -> list[str]:
        """Returns a line where some triggers lie behind the ``max_length`` tokens that the model reads of a text."""
        pairs = zip(clean.sequences(), triggered.sequences(), strict=True)
        unseen = sum(np.array_equal(before, after) for before, after in pairs)
        if unseen <= FEW * len(clean):
            return []
        return [
            f"attack.poison: the model sees no trigger in {unseen} of {len(clean)} triggered test texts; "
            f"task.max_length = {self.max_length} cuts off what comes late"
        ]

    def random_inputs(self, n: int, model: nn.Module, rng: torch.Generator) -> Encoded:
        """Returns ``n`` texts of random token ids, padding left out."""
        return random_texts(n, word_table(model).num_embeddings, rng)


def held_back(
    examples: tuple[Example, ...], share: float, rng: torch.Generator
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Returns the examples without, and the examples of, a random ``share``; both keep their order."""
    n = round(share * len(examples))
    if n == len(examples):
        raise UserError(f"task.validation = {share} leaves none of {len(examples)} training examples.")
    chosen = set(torch.randperm(len(examples), generator=rng)[:n].tolist())
    kept = tuple(example for row, example in enumerate(examples) if row not in chosen)
    return kept, tuple(examples[row] for row in sorted(chosen))
