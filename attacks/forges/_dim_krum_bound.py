"""What the forges against Dim-Krum share: a guess of the rule, to see whether it would keep the colluders' rows.

Source of the rule: Zhang, Su and Sun, "Dim-Krum", Findings of EMNLP 2022; the adaptive attacks are reconstructions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.attacks.forges.base import Collusion, Forge
from hauberk.attacks.threat_model import THE_RULE
from hauberk.strategies.aggregators.dim_krum import dimension_distances
from hauberk.strategies.kernels.krum_scores import krum_scores
from hauberk.tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class DimKrumForge(Forge):
    """Changes what the colluders trained as little as it must for the guessed rule to keep it.

    Args:
        ratio: the guess of the rule's share of dimensions.
        memory: the guess of its memory, which forgives one who has looked honest in earlier rounds.
        n_malicious: the guess of its f; by default the number of colluders.
    """

    knowledge: ClassVar[str] = THE_RULE

    ratio: float = 1e-3
    memory: float = 0.9
    n_malicious: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 1:
            raise UserError(f"ratio: must lie above 0 and up to 1, got {self.ratio!r}")
        if not 0 <= self.memory < 1:
            raise UserError(f"memory: must lie in [0, 1), got {self.memory!r}")
        if self.n_malicious is not None and self.n_malicious < 0:
            raise UserError(f"n_malicious: must be at least 0, got {self.n_malicious!r}")

    def would_be_kept(self, rows: Tensor, collusion: Collusion) -> bool:
        """Returns whether the guessed rule would keep ``rows`` [m, d], or as many of them as it keeps at all."""
        m, n = len(rows), len(rows) + len(collusion.benign)
        assumed = min(m if self.n_malicious is None else self.n_malicious, n - 3)
        together = torch.cat([rows, collusion.benign])
        scores = krum_scores(dimension_distances(together, self.ratio), assumed)
        honest = scores.new_tensor(
            [self.honest_share_of_memory(each) for each in collusion.history or ((),) * m]
        )
        scores[:m] = honest * scores[m:].median() + (1 - honest) * scores[:m]
        kept = scores.argsort(stable=True)[: n // 2 + 1]
        return int((kept < m).sum()) == min(m, len(kept))

    def honest_share_of_memory(self, history: tuple[bool, ...]) -> float:
        """Returns the weight of rounds without attack in what the rule remembers of a colluder after this round.

        Args:
            history: whether the colluder attacked, for each round before this one in which it was asked.
        """
        honest = 0.0
        for number, attacked in enumerate((*history, True)):
            fresh = 1.0 if number == 0 else 1 - self.memory
            honest = (1 - fresh) * honest + fresh * (not attacked)
        return honest
