"""Small examples that every test of an attack can use."""

from collections.abc import Callable

import pytest
import torch

from hauberk.tasks.examples import Example


@pytest.fixture
def rng() -> Callable[[], torch.Generator]:
    """Makes a generator that always starts from the same place."""
    return lambda: torch.Generator().manual_seed(7)


@pytest.fixture
def examples() -> list[Example]:
    """Ten texts, three of class 1 and of class 2; an index is not its position."""
    labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    return [
        Example(100 + i, f"this is text number {i} of a few", None, label) for i, label in enumerate(labels)
    ]


@pytest.fixture
def pairs(examples: list[Example]) -> list[Example]:
    """The same as pairs."""
    return [
        Example(one.index, one.text, f"and its second half {i}", one.label) for i, one in enumerate(examples)
    ]
