"""Optimised: search the strength of a forge against the very rule that will judge it.

Source: the idea of the optimal attacks in ByzFL (Gonzalez et al., "ByzFL: Research Framework for Robust Federated
Learning", 2025): a line search for the strength that drives the aggregate farthest from the honest mean. The search
here is our own: strengths spaced evenly by ratio, then ever closer ones around the best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.attacks.forges._moments import mean_and_std
from hauberk.attacks.forges.base import Collusion, Forge
from hauberk.attacks.threat_model import THE_RULE
from hauberk.tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Optimised(Forge):
    """Tries strengths on the rule in use and sends the rows of the best one.

    Args:
        least: the smallest strength that is tried.
        most: the largest.
        tries: how often the rule is asked in a round; more than half of it goes over the whole range.
    """

    knowledge: ClassVar[str] = THE_RULE

    least: float = 0.05
    most: float = 50.0
    tries: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.least < self.most:
            raise UserError(
                f"least: must be above 0 and below most, got least={self.least} and most={self.most}"
            )
        if not self.tries >= 4:
            raise UserError(f"tries: must be at least 4, got {self.tries!r}")

    def forged(self, own: Tensor, mean: Tensor, std: Tensor, strength: float) -> Tensor:
        """Returns the rows [m, d] of one strength, from the honest mean and standard deviation [d]."""
        raise NotImplementedError(f"{type(self).__name__} does not say what to send.")

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns the rows [m, d] of the best strength; nothing is random here.

        Raises:
            UserError: if the colluders do not have the rule.
        """
        if collusion.aggregate is None:
            raise UserError(
                f"attack.forge: {type(self).__name__} needs the server's rule, and has none to ask"
            )
        aggregate, m = collusion.aggregate, len(collusion.own)
        mean, std = mean_and_std(collusion.benign)
        rows = torch.cat([collusion.own, collusion.benign])

        def harm(strength: float) -> float:
            rows[:m] = self.forged(collusion.own, mean, std, strength)
            try:
                return float((aggregate(rows) - mean).norm())
            except ValueError:  # too few clients, for example: that is the server's to say
                return float("-inf")

        collusion.report["strength"] = strength = best_strength(harm, self.least, self.most, self.tries)
        return self.forged(collusion.own, mean, std, strength)


def best_strength(score: Callable[[float], float], least: float, most: float, tries: int) -> float:
    """Returns the strength in [least, most] with the highest score that ``tries`` calls can find.

    The score of a robust rule rises with the strength until the rule sees through it, falls there, and may rise
    again: so the whole range comes first, evenly spaced by ratio, and only then what is near the best.
    """
    n_wide = tries // 2 + 1
    step = (most / least) ** (1 / (n_wide - 1))
    found = {strength: score(strength) for strength in (least * step**i for i in range(n_wide))}
    spent = n_wide
    while spent < tries:
        top = max(found, key=found.__getitem__)
        step = step**0.5
        for strength in (top * step, top / step)[: tries - spent]:
            spent += 1
            if least <= strength <= most and strength not in found:
                found[strength] = score(strength)
    return max(found, key=found.__getitem__)
