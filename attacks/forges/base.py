"""Forge, the third kind of attack: colluders agree on what to send after they have trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from hauberk.attacks.threat_model import BENIGN_UPDATES


@dataclass(frozen=True)
class Collusion:
    """What m colluders of one round have before them; a Forge reads only what its ``knowledge`` allows.

    Attributes:
        own: the updates they trained, [m, d].
        benign: the updates of the honest clients of this round, [n_b, d]; not a copy, so write to none.
        parameters: the global parameters, [d]: what all updates start from, unless the rule keeps several models apart.
        aggregate: the server's rule with all that it knows, its own clean update included, but with other random
            draws than the server's; all rows [n, d], ``own`` before ``benign`` -> one update [d]. ``None`` where
            the rule is not known.
        round: the round, from 1.
        history: for each of ``own``, whether that colluder attacked, for each round before this one in which it
            was asked; empty where that is not known.
        report: where a Forge that chooses its strength says which it chose, for the round's record.
    """

    own: Tensor
    benign: Tensor
    parameters: Tensor
    aggregate: Callable[[Tensor], Tensor] | None = None
    round: int = 1
    history: tuple[tuple[bool, ...], ...] = ()
    report: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Forge:
    """Makes the colluders' rows from what they trained, before the guard sees them.

    Attributes:
        modality: what data a task must have for it; None for any.
    """

    modality: ClassVar[str | None] = None
    knowledge: ClassVar[str] = BENIGN_UPDATES

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns the rows to send, a new tensor [m, d]; what was given is left alone."""
        raise NotImplementedError(f"{type(self).__name__} does not say what to send.")

    def check(self, n_clients: int, n_malicious: int) -> list[str]:
        """Returns warnings, one line each, before anything runs.

        Args:
            n_clients: how many clients a round asks.
            n_malicious: how many of them collude.

        Raises:
            UserError: if this forge is impossible among so many.
        """
        return []
