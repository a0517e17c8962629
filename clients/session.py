"""A session: all that one client has before it in one round, for the loop, the plugins and a Tamper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.clients.loop import train
from hauberk.clients.settings import Training
from hauberk.tasks.base import Task
from hauberk.tasks.parameters import state_of
from hauberk.tasks.training_session import Batches, Loss


@dataclass(kw_only=True, eq=False)
class Session:
    """One client's round. The first five fields are enough to train.

    Attributes:
        task: what is learned.
        model: holds the parameters received; trained in place.
        data: the encoded examples to train on.
        training: how.
        rng: shuffles the data; every other random choice comes from here, too.
        device: where the model is.
        client_id: who this is, from 0.
        round: which round, from 1.
        n_clients: how many clients this round asked.
        n_attackers: how many of them are malicious, which only an attacker may read.
        history: whether this client attacked, for each round before; empty where a round asks but a part of the
            clients, so that it cannot say which rounds asked it.
        state: what this client gets back in its next round: tensors, numbers, strings, lists of those.
        scratch: what lasts for this round only.
        examples: the client's own, clean, where it attacks.
        poison: what its attack puts into examples, if anything.
        attacker: which attacker it is, if it is one.
        optimizer: new in every round.
        batches: epoch -> batches of ``data``, shuffled.
        loss: model and batch -> the scalar to minimise.
        received: what makes ``reference`` when it is asked for; by default it is a copy of the model as it comes.
    """

    task: Task
    model: nn.Module
    data: Any
    training: Training
    rng: torch.Generator
    device: str = "cpu"
    client_id: int = 0
    round: int = 1
    n_clients: int = 1
    n_attackers: int = 0
    history: tuple[bool, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)
    scratch: dict[str, Any] = field(default_factory=dict)
    examples: Sequence[Any] = ()
    poison: Any = None
    attacker: Any = None
    optimizer: torch.optim.Optimizer = field(init=False)
    batches: Batches = field(init=False)
    loss: Loss = field(init=False)
    received: Callable[[], dict[str, Tensor]] | None = None

    def __post_init__(self) -> None:
        """Fills in the honest ways of doing things."""
        self.optimizer = self.training.optimizer.build(self.model.parameters())
        self.batches = lambda epoch: self.shuffled(self.data)
        self.loss = self.task.loss
        if self.received is None:
            self.reference = state_of(self.model)

    @cached_property
    def reference(self) -> dict[str, Tensor]:
        """The parameters received, by name: most clients never ask for them, and need no copy."""
        assert self.received is not None
        return self.received()

    def shuffled(self, data: Any) -> Iterator[Any]:
        """Yields every example of ``data`` once, in batches of the training's size, on the session's device."""
        for batch in self.task.batches(data, self.training.batch_size, self.rng):
            yield batch.to(self.device)

    def encode(self, examples: Sequence[Any]) -> Any:
        """Returns examples as the task encodes them."""
        return self.task.encode(examples)

    def train(self) -> dict[str, float]:
        """Runs the honest loop and returns its report."""
        return train(self)
