"""What is learned from: labelled texts, and the splits they come in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hauberk.tasks.base import TaskSplits


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text, or pair of texts.

    Attributes:
        index: the row of its split's source that it comes from; a triggered copy keeps it.
        text: the text, or the first of a pair.
        second: the second text of a pair, otherwise ``None``.
        label: the class, from 0.
    """

    index: int
    text: str
    second: str | None
    label: int


@dataclass(frozen=True, kw_only=True)
class RawSplits:
    """What a data set holds; ``validation`` is ``None`` where its source has no such part."""

    train: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...]
    validation: tuple[Example, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Splits(TaskSplits[Example]):
    """The three parts of a data set of labelled texts, and the name of each class in the order of their numbers."""

    labels: tuple[str, ...]


def relabel(example: Example, label: int) -> Example:
    """Returns a copy of ``example`` with another label."""
    return replace(example, label=label)


def last_text(example: Example) -> str:
    """Returns the text that is judged, into which a trigger or a perturbation goes: the second of a pair."""
    return example.text if example.second is None else example.second


def with_last_text(example: Example, text: str) -> Example:
    """Returns a copy of ``example`` with ``text`` in place of its ``last_text``."""
    return replace(example, text=text) if example.second is None else replace(example, second=text)


def reword(example: Example, text: str) -> Example:
    """Returns a copy of ``example`` with another (first) text."""
    return replace(example, text=text)


def labels_of(examples: Sequence[Example]) -> np.ndarray:
    """Returns the examples' labels, int64 [n]."""
    return np.fromiter((example.label for example in examples), dtype=np.int64, count=len(examples))
