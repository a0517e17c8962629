"""The server: what does not change from round to round, and what its rule may know beside the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from hauberk.attacks import Attack
from hauberk.clients.settings import Training
from hauberk.server.evaluation import Evaluation
from hauberk.server.probe_logits import probe_logits
from hauberk.server.repair_steps import Repairs
from hauberk.server.root_update import root_update
from hauberk.server.state import ServerState
from hauberk.strategies.base import AggregationContext, needs_of
from hauberk.strategies.guard import Guard
from hauberk.strategies.layout import Layout
from hauberk.strategies.row_memory import RowMemory
from hauberk.strategies.row_wise import RowWise
from hauberk.strategies.update_matrix import CollectedUpdates
from hauberk.tasks.base import EncodedExamples, Task
from hauberk.tasks.seeds import generator


@dataclass(frozen=True)
class Server:
    """What does not change from round to round.

    Attributes:
        task: what is learned.
        aggregate: the rule.
        repairs: what is done to the aggregated model.
        model: the one instance that evaluates; its parameters are overwritten.
        layout: name, shape and slice of each tensor in the parameter vector.
        clean: the server's own examples, where it has any.
        keep_rounds: the rounds whose updates are kept on disk, by ``keep``.
        memory: of the rows of a round, which the next round overwrites.
        evaluate_every: rounds k, 2k, ... are measured, and the last.
        forensics_every: rounds 1, 1 + k, 1 + 2k, ... are examined in full; in none where it is 0.
    """

    task: Task
    aggregate: Any
    training: Training
    evaluate: Evaluation
    repairs: Repairs
    model: nn.Module
    layout: Layout
    seed: int
    n_clients: int
    cohort_size: int
    attack: Attack | None = None
    n_malicious: int = 0
    clean: EncodedExamples | None = None
    keep_rounds: frozenset[int] = frozenset()
    keep: Callable[[CollectedUpdates, AggregationContext, list[int]], None] | None = None
    guard: Guard = field(default_factory=Guard)
    forensics_every: int = 1
    memory: RowMemory = field(default_factory=RowMemory, compare=False)
    evaluate_every: int = 1

    @property
    def rule(self) -> Any:
        """The rule as a round asks it: row by row of those tables of which a client may have some rows alone."""
        sparse = self.task.sparse_tables
        return RowWise(self.aggregate, frozenset(sparse)) if sparse else self.aggregate


def sample(server: Server, number: int) -> list[int]:
    """Returns the client ids that round ``number`` asks, in order; a function of the seed and the round alone."""
    return list(_sampled(server.seed, number, server.n_clients, server.cohort_size))


@lru_cache(maxsize=4096)  # colluders ask in every round for all rounds before
def _sampled(seed: int, number: int, n_clients: int, cohort_size: int) -> tuple[int, ...]:
    order = torch.randperm(n_clients, generator=generator(seed, number, "sample"))
    return tuple(sorted(order[:cohort_size].tolist()))


def attackers(server: Server, number: int) -> tuple[int, ...]:
    """Returns the client ids that lie in round ``number``, whether they are asked or not."""
    if server.attack is None:
        return ()
    return server.attack.attackers(
        number, n_clients=server.n_clients, n_malicious=server.n_malicious, seed=server.seed
    )


def aggregation_context(
    server: Server,
    state: ServerState,
    number: int,
    client_ids: tuple[int, ...],
    n_examples: tuple[float, ...],
    who: str = "",
) -> AggregationContext:
    """Returns what the rule may know beside the rows; ``who`` but the server asks has random draws of its own."""
    root = logits = None
    wanted, precision, device = (
        needs_of(server.aggregate),
        server.evaluate.precision,
        server.evaluate.device,
    )
    if server.clean is not None and "root_update" in wanted:
        rng = generator(server.seed, number, "root")
        root = root_update(
            server.task, server.model, state.parameters, server.clean, server.training, rng, device
        )
    if "logits" in wanted:
        rng = generator(server.seed, number, f"{who}logits")
        logits = probe_logits(
            server.task, server.model, server.aggregate, rng, precision=precision, device=device
        )
    return AggregationContext(
        client_ids=client_ids,
        n_examples=n_examples,
        parameters=state.parameters,
        layout=server.layout,
        root_update=root,
        logits=logits,
        round=number,
        rng=generator(server.seed, number, f"{who}aggregate"),
    )
