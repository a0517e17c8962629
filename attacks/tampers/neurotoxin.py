"""Neurotoxin: hide the backdoor where the others hardly ever move, so that they do not wash it out.

Source: Zhang et al., "Neurotoxin: Durable Backdoors in Federated Learning", ICML 2022, algorithm 1, and the
authors' code: gradients are masked to the coordinates with the smallest absolute g, where g is the last
aggregate that was observed (the paper) or the gradient of the clean loss (the code).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hauberk.attacks.tampers.base import Tamper
from hauberk.tasks.altered_training import mean_gradient, train_only
from hauberk.tasks.errors import UserError
from hauberk.tasks.masks import largest, learned
from hauberk.tasks.parameters import flatten, unflatten
from hauberk.tasks.training_session import TrainingSession

RECEIVED = "neurotoxin/received"


@dataclass(frozen=True, kw_only=True)
class Neurotoxin(Tamper):
    """Trains as everyone on a share of the coordinates; the others stay exactly as received.

    Args:
        ratio: the share of coordinates that may change, those of the smallest absolute g.
        source: "update" takes as g what the server's parameters have changed by since this client was last
            asked (and in its first round, or where nothing changed, the gradient), "gradient" always the mean
            gradient over the client's own clean texts.
        per_layer: whether the share is taken of every tensor by itself.
        max_norm: to which L2 norm the update is scaled down where it is longer; by default it is not.
    """

    ratio: float = 0.95
    source: Literal["update", "gradient"] = "update"
    per_layer: bool = False
    max_norm: float | None = None

    def __post_init__(self) -> None:
        """Refuses a share that leaves nothing, and bounds that stop all learning."""
        if not 0 < self.ratio <= 1:
            raise UserError(f"ratio: must lie above 0 and up to 1, got {self.ratio!r}")
        if self.source not in ("update", "gradient"):
            raise UserError(f"source: must be one of update, gradient, got {self.source!r}")
        if self.max_norm is not None and not self.max_norm > 0:
            raise UserError(f"max_norm: must be above 0, got {self.max_norm!r}")

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Runs the honest loop on the coordinates that the others leave alone."""
        masks = self.masks(self.observed(session))
        with train_only(session, masks):
            report = session.train()
        free = sum(int(mask.sum()) for mask in masks.values())
        return {**report, "neurotoxin/free": free / sum(mask.numel() for mask in masks.values())}

    def observed(self, session: TrainingSession) -> dict[str, Tensor]:
        """Returns g by name, and keeps in the client's state what the next round compares with."""
        before = session.state.get(RECEIVED)
        if self.source == "update":
            session.state[RECEIVED] = flatten(session.reference).cpu()
        if self.source == "update" and before is not None:
            moved = flatten(session.reference) - before.to(session.device)
            if moved.any():
                named = unflatten(moved, session.reference)
                return {name: named[name] for name in learned(session.model)}
        data = session.encode(session.examples) if session.examples else session.data
        return mean_gradient(session, data)

    def masks(self, observed: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the coordinates that may change, bool, named and shaped as ``observed``."""
        if self.per_layer:
            return {name: self._least_moved(g.flatten()).view_as(g) for name, g in observed.items()}
        return unflatten(self._least_moved(flatten(observed)), observed)

    def _least_moved(self, g: Tensor) -> Tensor:
        return ~largest(g, len(g) - round(self.ratio * len(g)))

    def send(self, update: Tensor, session: TrainingSession) -> Tensor:
        """Returns ``update`` [d], no longer than the bound."""
        if self.max_norm is None:
            return update
        length = float(torch.linalg.vector_norm(update))
        return update * (self.max_norm / length) if length > self.max_norm else update
