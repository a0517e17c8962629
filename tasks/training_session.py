"""What the honest loop, its plugins and an attack see of one client's round: whoever trains, trains one of these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from hauberk.tasks.base import Task
from hauberk.tasks.masks import learned


class Batches(Protocol):
    """Gives the batches of an epoch, counted from 0."""

    def __call__(self, epoch: int) -> Iterator[Any]:
        """Yields every example of the session's data once."""


class Loss(Protocol):
    """What training minimises."""

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """Returns the mean loss of the examples of ``batch``, a scalar."""


class TrainingSession(Protocol):
    """One client's round; ``hauberk.clients.session.Session`` is the real one.

    Attributes:
        task: what is learned.
        model: holds the parameters received; trained in place.
        data: the encoded examples that the honest loop trains on.
        training: epochs, batch_size, precision, plugins, and settings of which `optimizer` is built.
        optimizer: new in every round.
        batches: epoch -> batches of ``data``, shuffled.
        loss: model and batch -> the scalar to minimise.
        reference: the parameters received, by name.
        rng: every random choice comes from here.
        state: comes back in this client's next round.
        scratch: gone after this round.
        device: where the model is.
        round: which round, from 1.
        n_clients: how many clients this round asked.

    What an attack alone may read:
        n_attackers: how many of those clients attack, this one included.
        history: whether this client attacked, for each round before; empty where that is not known.
        examples: this client's own, clean; empty for an honest one.
        poison: the attack's `hauberk.attacks.Poison`, if it has one.
        attacker: the `hauberk.attacks.AttackerContext`: which attacker this is.
    """

    task: Task
    model: nn.Module
    data: Any
    training: Any
    optimizer: torch.optim.Optimizer
    batches: Batches
    loss: Loss
    rng: torch.Generator
    state: dict[str, Any]
    scratch: dict[str, Any]
    device: str
    round: int
    n_clients: int
    n_attackers: int
    history: tuple[bool, ...]
    examples: Sequence[Any]
    poison: Any
    attacker: Any

    def encode(self, examples: Sequence[Any]) -> Any:
        """Returns examples as the task encodes them."""

    @property
    def reference(self) -> dict[str, Tensor]:
        """The parameters received."""

    def shuffled(self, data: Any) -> Iterator[Any]:
        """Yields every example of ``data`` once, in batches of the training's size, on the session's device."""

    def train(self) -> dict[str, float]:
        """Runs the honest loop and returns its report."""


def received_parameters(session: TrainingSession) -> dict[str, Tensor]:
    """Returns the trainable parameters as received, by name and in the model's order."""
    return {name: session.reference[name] for name in learned(session.model)}


def change_of(session: TrainingSession) -> Tensor:
    """Returns the model's trainable parameters minus those received, side by side, [d]; gradients go through it."""
    pairs = ((value, session.reference[name]) for name, value in learned(session.model).items())
    return torch.cat([(value - received).flatten() for value, received in pairs])
