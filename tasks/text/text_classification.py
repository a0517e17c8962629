"""Text classification: a data set, a model, and how texts become numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.examples import Example, RawSplits, Splits, labels_of
from hauberk.tasks.text.models.base import ModelConfig, TextModel


class Dataset(Protocol):
    """A data set's settings: what DATASETS holds."""

    def load(self) -> RawSplits:
        """Returns all of its examples, the same at every call."""


@dataclass(frozen=True, kw_only=True)
class TextClassification:
    """A text classification task.

    Args:
        dataset: where the texts come from.
        model: what learns them.
        max_length: tokens kept of a text.
        validation: share of the training data held back where the data set has no validation part.
        n_train: how many training examples are used, drawn at random; ``None`` for all.
        n_classes: how many classes the data have, which ``bind`` fills in; ``None`` before.
    """

    dataset: Dataset
    model: ModelConfig
    max_length: int = 64
    validation: float = 0.1
    n_train: int | None = None
    n_classes: int | None = None

    def __post_init__(self) -> None:
        """Refuses settings outside their range."""
        if self.max_length < 5:
            raise UserError(f"task.max_length must be at least 5 tokens, got {self.max_length}.")
        if not 0 <= self.validation < 1:
            raise UserError(f"task.validation must be a share in [0, 1), got {self.validation}.")
        if self.n_train is not None and self.n_train < 1:
            raise UserError(f"task.n_train must be at least 1 example, got {self.n_train}.")

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

    def encode(self, examples: Sequence[Example]) -> Encoded:
        """Returns the examples as token ids with their labels and indices."""
        seconds = [example.second for example in examples]
        pairs = any(second is not None for second in seconds)
        encoded = self.model.tokenizer().encode(
            [example.text for example in examples], seconds if pairs else None, self.max_length
        )
        index = np.fromiter((example.index for example in examples), dtype=np.int64, count=len(examples))
        return encoded.labelled(labels_of(examples), index)

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
