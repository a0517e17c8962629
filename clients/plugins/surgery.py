"""Surgery as a regulariser: a client may change but a few of the model's numbers, and so hardly any other answer.

Source: Zhang et al., "Neural Network Surgery: Injecting Data Patterns into Pre-trained Models with Minimal
Instance-wise Side Effects", NAACL 2021, selecting and dynamic methods. Reconstructed: no code is known, the
schedule's constants are ours, and the paper injects patterns with about 1e-5 of the parameters, where honest
training needs more of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from hauberk.clients.plugins.base import Plugin
from hauberk.tasks.errors import UserError
from hauberk.tasks.masks import allowed, largest, learned, mask_gradients, restore_outside
from hauberk.tasks.parameters import unflatten
from hauberk.tasks.surgery import check_selection, narrowed, selected_at_start
from hauberk.tasks.training_session import TrainingSession, change_of, received_parameters

Method = Literal["dynamic", "gradient", "random"]
KEY = "surgery/operation"


@dataclass
class _Operation:
    """One round's: which numbers may change (bool by name), how many they are, the budget, the steps so far."""

    masks: dict[str, Tensor]
    n: int
    budget: int
    handle: torch.utils.hooks.RemovableHandle | None = None
    steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Surgery(Plugin):
    """Lets at most a budget of the model's numbers differ from those received; the others are them bit by bit.

    Which: "random"; "gradient", those of the largest gradient over the client's texts at the start; "dynamic",
    first all, and every few steps only those that have moved most, the others going back to where they began.
    The plugin needs the whole embedding table, as a share of it counts.

    Args:
        method: how they are chosen.
        budget: how many: below 1 a share of the trainable parameters, from 1 on a count.
        keep: with "dynamic", the share that a stage leaves to the next, between 0 and 1.
        every: with "dynamic", the optimiser's steps in a stage; where a round ends before the budget is reached,
            all the rest are dropped at its end.
    """

    method: Method = "dynamic"
    budget: float = 0.01
    keep: float = 0.1
    every: int = 5

    def __post_init__(self) -> None:
        """Refuses what changes nothing, or cannot be counted."""
        check_selection(self.method, get_args(Method), self.budget, self.keep)
        if not self.every >= 1:
            raise UserError(f"every: must be at least 1, got {self.every!r}")

    @property
    def reads_texts(self) -> bool:
        """Whether it chooses by gradients that it takes itself."""
        return self.method == "gradient"

    def setup(self, session: TrainingSession) -> None:
        """Chooses, and watches every step of the optimiser: decay and momentum know no mask."""
        received = received_parameters(session)
        n = sum(value.numel() for value in received.values())
        budget = allowed(self.budget, n)
        if self.method == "dynamic":
            k, mask = n, torch.ones(n, dtype=torch.bool, device=session.device)
        else:
            k, mask = budget, selected_at_start(session, self.method, n, budget)
        operation = _Operation(unflatten(mask, received), k, budget)
        operation.handle = session.optimizer.register_step_post_hook(lambda *_: self._after_step(session))
        session.scratch[KEY] = operation

    def gradients(self, session: TrainingSession) -> None:
        """Clears the gradients of what may not change."""
        mask_gradients(learned(session.model), session.scratch[KEY].masks)

    def finish(self, session: TrainingSession) -> dict[str, float]:
        """Brings the changes down to the budget and returns how many there are."""
        operation = session.scratch[KEY]
        operation.handle.remove()
        # A plugin that comes later in the list may have written after this one's last step.
        restore_outside(learned(session.model), operation.masks, session.reference)
        self._narrow(session, operation.budget)
        return {"surgery/changed": float(change_of(session).count_nonzero())}

    def _after_step(self, session: TrainingSession) -> None:
        operation = session.scratch[KEY]
        operation.steps += 1
        if operation.steps % self.every == 0:
            self._narrow(session, narrowed(operation.n, self.keep, operation.budget))
        restore_outside(learned(session.model), operation.masks, session.reference)

    def _narrow(self, session: TrainingSession, n: int) -> None:
        """Lets only the ``n`` numbers that have moved most change from now on."""
        operation = session.scratch[KEY]
        if operation.n > n:
            mask = largest(change_of(session).detach(), n)
            operation.n, operation.masks = n, unflatten(mask, received_parameters(session))
            restore_outside(learned(session.model), operation.masks, session.reference)
