"""Adaptive attack on Dim-Krum by spreading the backdoor: no dimension is far enough from honest to count for much.

Source: an adaptive attack on Zhang, Su and Sun, "Dim-Krum", Findings of EMNLP 2022; its form is a reconstruction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hauberk.attacks.tampers._balls import into_cube
from hauberk.attacks.tampers._dim_krum_guess import DimKrumTamper, Guess
from hauberk.tasks.altered_training import after_steps
from hauberk.tasks.masks import learned
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class DimKrumSpread(DimKrumTamper):
    """Trains on the poisoned texts inside a cube around the parameters received.

    The cube's half edge c is such that any k dimensions, k c^2, stay within the room: projected gradient descent
    in the L-infinity norm whose radius follows from the rule.
    """

    def train_within(self, session: TrainingSession, guess: Guess) -> dict[str, float]:
        """Runs the honest loop inside the cube."""
        parameters, edge = learned(session.model), math.sqrt(guess.room / guess.k)
        with after_steps(session, lambda: into_cube(parameters, session.reference, edge)):
            return {**session.train(), "dim_krum/edge": edge}
