"""The data of a run: loaded, bound and encoded when they are first asked for, and shared by runs that have the same."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch

from hauberk.experiments.spec.loader import Spec
from hauberk.tasks.base import Task
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator


@dataclass(frozen=True, eq=False)
class Data:
    """What depends on the task, the seed and the server's share alone; nothing of it is ever changed.

    Args:
        task: what is learned, not bound yet.
        seed: the experiment's.
        n_clean: how many examples the server keeps for itself.

    Attributes:
        federated: whether the clients' examples are with the clients, so that the pool here is empty.
    """

    task: Task
    seed: int
    n_clean: int
    federated: ClassVar[bool] = False

    @cached_property
    def perplexities(self) -> dict[str, dict[str, float]]:
        """What an attack's texts were measured as, by the digest of its poison; each is the same under every rule."""
        return {}

    @cached_property
    def splits(self) -> Any:
        """The data set; raises UserError where it is missing or odd."""
        return self.task.splits(self.seed)

    @cached_property
    def bound(self) -> Task:
        """The task that knows its data."""
        return self.task.bind(self.splits)

    @cached_property
    def drawn(self) -> tuple[list[Any], list[Any]]:
        """The clients' pool and the server's own clean examples."""
        return draw_clean(self.splits.train, self.n_clean, self.seed)

    @cached_property
    def train(self) -> Any:
        """The clients' pool, encoded."""
        return self.bound.encode(self.drawn[0])

    @cached_property
    def test(self) -> Any:
        """The test split, encoded."""
        return self.bound.encode(self.splits.test)


def data_of(spec: Spec, splits: Any = None) -> Data:
    """Returns the data of ``spec``, with the splits that are loaded already, where they are."""
    data = Data(spec.parts.task, spec.seed, spec.server.clean.n_examples)
    if splits is not None:
        data.__dict__["splits"] = splits
    return data


class SharedData:
    """Keeps the data of the last runs of a process that plays one after another.

    A file that changes meanwhile is not read again: a benchmark's cells are all of the same data.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int = 2) -> None:
        self._most = most
        self._kept: OrderedDict[str, Data] = OrderedDict()

    def of(self, spec: Spec) -> Data:
        """Returns the data of ``spec``."""
        key = json.dumps([spec.to_dict()["task"], spec.seed, spec.server.clean.n_examples], sort_keys=True)
        found = self._kept.pop(key, None) or data_of(spec)
        self._kept[key] = found
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found


def draw_clean(train: Sequence[Any], n_examples: int, seed: int) -> tuple[list[Any], list[Any]]:
    """Returns the clients' pool and the server's own clean examples, drawn apart from it."""
    if n_examples >= len(train):
        raise UserError(
            f"server.clean.n_examples: must leave data to the clients, got {n_examples} of {len(train)} examples"
        )
    drawn = torch.randperm(len(train), generator=generator(seed, "clean"))[:n_examples].tolist()
    chosen = set(drawn)
    return [e for row, e in enumerate(train) if row not in chosen], [train[row] for row in drawn]
