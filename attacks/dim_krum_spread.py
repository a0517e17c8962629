"""Adaptive attack on Dim-Krum by spreading the backdoor: no dimension is far enough from honest to count for much.

Source: an adaptive attack on Zhang, Su and Sun, "Dim-Krum", Findings of EMNLP 2022; its form is a reconstruction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hauberk.attacks.balls import into_cube
from hauberk.attacks.dim_krum_guess import AgainstDimKrum, Guess
from hauberk.attacks.loop import after_steps
from hauberk.attacks.tamper import TrainingSession
from hauberk.tasks.masks import learned
from hauberk.tasks.parameters import state_of


@dataclass(frozen=True, kw_only=True)
class DimKrumSpread(AgainstDimKrum):
    """Trains on from the honest result inside a cube around it.

    The cube's half edge c is such that any k dimensions, k c^2, stay within the allowance: projected gradient
    descent in the L-infinity norm whose radius follows from the rule.
    """

    def against(self, session: TrainingSession, guess: Guess) -> dict[str, float]:
        """Runs the honest loop inside the cube."""
        parameters = learned(session.model)
        edge = math.sqrt(guess.allowed * guess.honest / guess.k)
        for name, value in state_of(session.model, copy=False).items():
            if name in guess.centre:
                value.copy_(guess.centre[name])
        with after_steps(session, lambda: into_cube(parameters, guess.centre, edge)):
            report = session.train()
        return {**report, "dim_krum/edge": edge}
