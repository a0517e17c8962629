"""What an attacker guesses of Dim-Krum before it trains against it: the score of an honest client in the dimensions
that the rule would pick, and what the rule remembers of the attacker.

Source of the rule: Zhang, Su and Sun, "Dim-Krum", Findings of EMNLP 2022; the adaptive attacks are reconstructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from operator import not_
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.attacks.tampers.base import Tamper
from hauberk.attacks.threat_model import THE_RULE
from hauberk.tasks.altered_training import with_new_optimizer
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import load_state
from hauberk.tasks.training_session import TrainingSession, change_of

MEMORY = "dim_krum/memory"
LEAST = 0.05  # the room that the attacker takes however badly it is remembered, in units of an honest update


@dataclass(frozen=True)
class Guess:
    """What the attacker works with in one round.

    Attributes:
        k: how many dimensions count.
        honest: the sum of the k largest squares of an honest update.
        room: how large that sum may be for the attacker's.
    """

    k: int
    honest: float
    room: float

    def score(self, update: Tensor) -> float:
        """Returns the score to expect for ``update`` [d], in units of an honest client's.

        Two clients who move different dimensions are as far apart, squared, as both have gone together.
        """
        return (1 + sum_of_largest_squares(update, self.k) / self.honest) / 2


@dataclass(frozen=True, kw_only=True)
class DimKrumTamper(Tamper):
    """Trains so as to score no worse than an honest client; a subclass says how.

    It first trains honestly on its own clean texts, to see how far honest clients go in their strongest
    dimensions. The rule's memory M <- memory * M + (1 - memory) * score leaves it more room after rounds in which
    it went less far. Rounds in which it was honest count with an honest client's score; after those, what is
    remembered lies between that score and the margin, and it goes as far as the margin at the least.

    Args:
        ratio: the guess of the rule's share of dimensions.
        memory: the guess of its memory.
        margin: the remembered score that it allows itself, in units of an honest client's; above a half, which is
            the score of an update of nothing.
    """

    knowledge: ClassVar[str] = THE_RULE

    ratio: float = 1e-3
    memory: float = 0.9
    margin: float = 0.75

    def __post_init__(self) -> None:
        """Refuses what no Dim-Krum could be."""
        if not 0 < self.ratio <= 1:
            raise UserError(f"ratio: must lie above 0 and up to 1, got {self.ratio!r}")
        if not 0 <= self.memory < 1:
            raise UserError(f"memory: must lie in [0, 1), got {self.memory!r}")
        if not self.margin > 0.5:
            raise UserError(f"margin: must be above 0.5, got {self.margin!r}")

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Guesses, trains, and remembers what it expects the rule to remember."""
        guess = self.guess(session)
        report = self.train_within(session, guess)
        score = guess.score(change_of(session))
        before = self.remembered(session)
        session.state[MEMORY] = (
            self.memory * (score if before is None else before) + (1 - self.memory) * score
        )
        return {**report, "dim_krum/score": score, "dim_krum/room": guess.room / guess.honest}

    def train_within(self, session: TrainingSession, guess: Guess) -> dict[str, float]:
        """Trains within what ``guess`` allows."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it trains.")

    def guess(self, session: TrainingSession) -> Guess:
        """Trains honestly, and leaves the model as received."""
        with with_new_optimizer(session, session.encode(session.examples)):
            session.train()
        update = change_of(session).detach()
        load_state(session.model, session.reference)
        k = max(1, int(self.ratio * len(update)))
        honest = max(sum_of_largest_squares(update, k), 1e-12)
        allowed = self.allowance(self.remembered(session))
        if not all(session.history):
            allowed = max(allowed, self.margin)
        return Guess(k, honest, max(LEAST, 2 * allowed - 1) * honest)

    def remembered(self, session: TrainingSession) -> float | None:
        """Returns what the rule should remember of this client before this round, ``None`` without a past."""
        memory: float | None = session.state.get(MEMORY)
        for _ in takewhile(not_, reversed(session.history)):  # honest rounds since its last attack
            memory = 1.0 if memory is None else self.memory * memory + (1 - self.memory)
        return memory

    def allowance(self, remembered: float | None) -> float:
        """Returns the largest score of this round after which the memory stays within the margin."""
        if remembered is None:
            return self.margin
        return (self.margin - self.memory * remembered) / (1 - self.memory)


def sum_of_largest_squares(values: Tensor, k: int) -> float:
    """Returns the sum of the ``k`` largest squares of ``values`` [d]."""
    return float(values.detach().square().topk(k, sorted=False).values.sum(dtype=torch.float64))
