"""What an attacker guesses of Dim-Krum before it trains against it: how far honest clients are apart in the
dimensions that the rule would pick, and what the rule remembers of the attacker.

Source of the rule: Zhang, Su and Sun, "Dim-Krum", Findings of EMNLP 2022; the adaptive attacks are reconstructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.knowledge import THE_RULE
from hauberk.attacks.loop import fresh
from hauberk.attacks.tamper import Tamper, TrainingSession
from hauberk.tasks.encoding import Encoded
from hauberk.tasks.errors import UserError
from hauberk.tasks.masks import learned
from hauberk.tasks.parameters import load_state

MEMORY = "dim_krum/memory"
LEAST = 0.05  # of an honest distance: what the attacker allows itself however much it is remembered


@dataclass(frozen=True)
class Guess:
    """What the attacker works with in one round.

    Attributes:
        centre: where its honest training would lead, by name.
        honest: the squared distance between two honest clients in the dimensions that count.
        allowed: how far it may go from the centre in any as many dimensions, in units of ``honest``.
        k: how many dimensions count.
    """

    centre: dict[str, Tensor]
    honest: float
    allowed: float
    k: int


@dataclass(frozen=True, kw_only=True)
class AgainstDimKrum(Tamper):
    """Trains so as to score no worse than an honest client; a subclass says how.

    It first trains honestly on two halves of its own clean texts: their mean is where an honest client would
    go, their distance what lies between two. The rule's memory M <- memory * M + (1 - memory) * score lets it go
    further after rounds in which it stayed near.

    Args:
        ratio: the guess of the rule's share of dimensions.
        memory: the guess of its memory.
        margin: the remembered score that it allows itself, in units of an honest client's.
    """

    knowledge: ClassVar[str] = THE_RULE

    ratio: float = 1e-3
    memory: float = 0.9
    margin: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what no Dim-Krum could be."""
        if not 0 < self.ratio <= 1:
            raise UserError(f"ratio: must lie above 0 and up to 1, got {self.ratio!r}")
        if not 0 <= self.memory < 1:
            raise UserError(f"memory: must lie in [0, 1), got {self.memory!r}")
        if not self.margin > 0:
            raise UserError(f"margin: must be above 0, got {self.margin!r}")

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Guesses, trains, and remembers what it expects the rule to remember."""
        if len(session.examples) < 2:
            return session.train()
        guess = self.guess(session)
        report = self.against(session, guess)
        score = strongest(difference(session, guess.centre), guess.k) / guess.honest
        remembered = session.state.get(MEMORY, score)
        session.state[MEMORY] = self.memory * remembered + (1 - self.memory) * score
        return {**report, "dim_krum/score": score, "dim_krum/allowed": guess.allowed}

    def against(self, session: TrainingSession, guess: Guess) -> dict[str, float]:
        """Trains within what ``guess`` allows."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it trains.")

    def guess(self, session: TrainingSession) -> Guess:
        """Trains the two halves, and leaves the model as received."""
        data = session.encode(session.examples)
        order = torch.randperm(len(data), generator=session.rng).numpy()
        first, second = (self._honest(session, data.take(half)) for half in np.array_split(order, 2))
        n = sum(value.numel() for value in first.values())
        k = max(1, int(self.ratio * n))
        apart = torch.cat([(first[name] - second[name]).flatten() for name in first])
        centre = {name: (first[name] + second[name]) / 2 for name in first}
        honest = max(strongest(apart, k), 1e-12)
        return Guess(centre, honest, self.allowance(session.state.get(MEMORY)), k)

    def allowance(self, remembered: float | None) -> float:
        """Returns the largest score of this round after which the memory stays within the margin."""
        if remembered is None:
            return self.margin
        return max(LEAST, (self.margin - self.memory * remembered) / (1 - self.memory))

    def _honest(self, session: TrainingSession, half: Encoded) -> dict[str, Tensor]:
        # Twice the epochs on half the texts are as many steps as an honest client takes.
        with fresh(session, half, epochs=2 * session.training.epochs):
            session.train()
        found = {name: value.detach().clone() for name, value in learned(session.model).items()}
        load_state(session.model, session.reference)
        return found


def difference(session: TrainingSession, centre: dict[str, Tensor]) -> Tensor:
    """Returns the model's parameters minus ``centre``, side by side, [d]."""
    return torch.cat([(value - centre[name]).flatten() for name, value in learned(session.model).items()])


def strongest(values: Tensor, k: int) -> float:
    """Returns the sum of the ``k`` largest squares of ``values`` [d]."""
    return float(values.detach().square().topk(k, sorted=False).values.sum(dtype=torch.float64))
