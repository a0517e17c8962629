"""Evaluation on a pool: the test split, clean and triggered, in shards that idle workers answer.

A shard is made of whole batches of the evaluation in one process, and is answered with the server's threads, so that
the answers, put together in the order of the rows, are the same bits; what they come to is computed from all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.experiments.engines.client_round import predict
from hauberk.experiments.engines.cluster import ray
from hauberk.experiments.engines.pool import NoWorkersError, Pool, WorkFailed
from hauberk.server.evaluation import Metrics
from hauberk.server.measuring import Measured, MeasuredHere
from hauberk.server.server import Server
from hauberk.server.state import ServerState
from hauberk.strategies.serving import serves

POLL_S = 0.1


@dataclass(frozen=True, eq=False)
class Shard:
    """A part of what a model has to answer.

    Attributes:
        part: of `Evaluation.parts`.
        rows: which of its examples.
        examples: refers to them in the object store.
    """

    part: str
    rows: np.ndarray
    examples: Any


class ShardedMeasure:
    """Measures models on a pool of workers.

    Args:
        pool: of processes that keep a `Worker`.
        server: whose models they are.
        threads: that each shard is answered with.
        share: returns a reference to parameters by name in the object store.
        check: raises what ends the run, or the pool.
    """

    def __init__(
        self,
        pool: Pool,
        server: Server,
        threads: int,
        share: Callable[[Mapping[str, np.ndarray]], Any],
        check: Callable[[], None],
    ) -> None:
        self.pool, self.server, self.threads, self.share, self.check = pool, server, threads, share, check
        self.shards = [
            Shard(part, rows, ray.put(examples.take(rows)))
            for part, examples in server.evaluate.parts.items()
            for rows in server.task.prediction_shards(examples, pool.wanted)
        ]

    def __call__(self, state: ServerState) -> Measured:
        """Asks the workers, and returns what waits for them; what is more than the model is measured here."""
        if serves(self.server.aggregate):
            return MeasuredHere(self.server, state)
        reference = self.share(self.server.layout.arrays(state.parameters))
        precision = self.server.evaluate.precision
        answers = [
            self.pool.submit(predict, reference, shard.examples, precision, self.threads, filler=True)
            for shard in self.shards
        ]
        return ShardedMetrics(self, state, answers)


@dataclass(frozen=True, eq=False)
class ShardedMetrics:
    """What a model is worth, on its way from the workers; measured here where they cannot."""

    by: ShardedMeasure
    state: ServerState
    answers: list[Future]

    def done(self) -> bool:  # noqa: D102
        return all(answer.done() for answer in self.answers)

    def result(self) -> Metrics:
        """Returns the metrics; raises what ends the run."""
        try:
            while wait(self.answers, timeout=POLL_S).not_done:
                self.by.check()
            return self.by.server.evaluate.metrics(self._joined())
        except (WorkFailed, NoWorkersError):
            return MeasuredHere(self.by.server, self.state).result()

    def _joined(self) -> dict[str, Tensor]:
        """Returns the answers to each part, in the order of its rows."""
        parts: dict[str, np.ndarray] = {}
        for shard, answer in zip(self.by.shards, self.answers, strict=True):
            found = answer.result()
            if shard.part not in parts:
                n = len(self.by.server.evaluate.parts[shard.part])
                parts[shard.part] = np.empty((n, *found.shape[1:]), found.dtype)
            parts[shard.part][shard.rows] = found
        return {name: torch.from_numpy(answers) for name, answers in parts.items()}
