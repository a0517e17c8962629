"""Neural network surgery: which few of a model's numbers may change, and training those alone.

Source: Zhang et al., "Neural Network Surgery: Injecting Data Patterns into Pre-trained Models with Minimal
Instance-wise Side Effects", NAACL 2021: Lagrange, selecting and dynamic methods, about 1e-5 of the parameters.
Reconstructed: no code is known, and the schedule's constants are not verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from hauberk.tasks.altered_training import after_steps, mean_gradient, train_only, with_new_optimizer
from hauberk.tasks.errors import UserError
from hauberk.tasks.masks import allowed, check_budget, largest, learned, restore_outside
from hauberk.tasks.parameters import flatten, load_state, unflatten
from hauberk.tasks.training_session import TrainingSession, change_of, received_parameters

Method = Literal["dynamic", "delta", "gradient", "random", "lagrange"]
METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True, kw_only=True)
class SurgicalTraining:
    """Changes at most a budget of the model's numbers; the others stay bit by bit as received.

    Which: "random"; "gradient", those of the largest gradient at the start; "delta", those that a first
    training moves most; "dynamic", the same in stages, each of which keeps a share of the last one's and puts the
    others back; "lagrange", those that survive an L1 penalty on the change. All but the last are then trained
    alone.

    Args:
        method: how they are chosen.
        budget: how many: below 1 a share of the parameters, from 1 on a count.
        epochs: passes over the data once they are chosen (with "lagrange": all there are).
        selecting_epochs: passes of the training, or of every stage, that chooses.
        keep: the share that a stage of "dynamic" keeps.
        penalty: lambda of "lagrange": after each step every change shrinks by the learning rate times this.
        lr: the learning rate; by default the training's. Few numbers need a larger one.
    """

    method: Method = "dynamic"
    budget: float = 1e-5
    epochs: int = 5
    selecting_epochs: int = 1
    keep: float = 0.1
    penalty: float = 0.1
    lr: float | None = None

    def __post_init__(self) -> None:
        """Refuses what changes nothing, or cannot be counted."""
        check_selection(self.method, METHODS, self.budget, self.keep)
        for key in ("epochs", "selecting_epochs"):
            if getattr(self, key) < 1:
                raise UserError(f"{key}: must be at least 1, got {getattr(self, key)!r}")
        if not self.penalty >= 0:
            raise UserError(f"penalty: must be at least 0, got {self.penalty!r}")
        if self.lr is not None and not self.lr > 0:
            raise UserError(f"lr: must be above 0, got {self.lr!r}")

    def operate(self, session: TrainingSession) -> dict[str, float]:
        """Trains ``session.model``; returns the last training's report and how many numbers changed."""
        if self.method == "lagrange":
            report = self._train_shrinking(session)
        else:
            report = self._train_only(session, self.selected(session), self.epochs)
        return {**report, "surgery/changed": float(change_of(session).count_nonzero())}

    def n_allowed(self, n_parameters: int) -> int:
        """Returns the budget as a count, at least 1."""
        return allowed(self.budget, n_parameters)

    def selected(self, session: TrainingSession) -> Tensor:
        """Returns which parameters to change, bool [d], side by side; all others are as received afterwards."""
        n = sum(value.numel() for value in received_parameters(session).values())
        k = self.n_allowed(n)
        if self.method in ("random", "gradient"):
            return selected_at_start(session, self.method, n, k)
        return self._selected_by_change(session, n, k)

    def _selected_by_change(self, session: TrainingSession, n: int, k: int) -> Tensor:
        mask = torch.ones(n, dtype=torch.bool, device=session.device)
        while n > k:
            self._train_only(session, mask, self.selecting_epochs)
            n = k if self.method == "delta" else narrowed(n, self.keep, k)
            mask = largest(change_of(session).detach(), n)
            restore_unselected(session, mask)
        if self.method == "delta":
            load_state(session.model, session.reference)
        return mask

    def _train_only(self, session: TrainingSession, mask: Tensor, epochs: int) -> dict[str, float]:
        masks = unflatten(mask, received_parameters(session))
        with with_new_optimizer(session, epochs=epochs, lr=self.lr), train_only(session, masks):
            return session.train()

    def _train_shrinking(self, session: TrainingSession) -> dict[str, float]:
        parameters = learned(session.model)
        with with_new_optimizer(session, epochs=self.epochs, lr=self.lr):
            by = self.penalty * session.optimizer.param_groups[0]["lr"]

            def shrink() -> None:
                with torch.no_grad():
                    for name, value in parameters.items():
                        start = session.reference[name]
                        value.copy_(start + torch.nn.functional.softshrink(value - start, by))

            with after_steps(session, shrink):
                report = session.train()
        change = change_of(session).detach()
        restore_unselected(session, largest(change, self.n_allowed(len(change))))
        return report


def check_selection(method: str, methods: Sequence[str], budget: float, keep: float) -> None:
    """Raises UserError unless ``method`` is one of ``methods``, and the budget and the share kept can be counted."""
    if method not in methods:
        raise UserError(f"method: must be one of {', '.join(methods)}, got {method!r}")
    check_budget(budget)
    if not 0 < keep < 1:
        raise UserError(f"keep: must lie between 0 and 1, got {keep!r}")


def selected_at_start(session: TrainingSession, method: str, n: int, k: int) -> Tensor:
    """Returns ``k`` of the ``n`` parameters before any training, bool [n].

    Args:
        session: whose model is as received.
        method: "random", or "gradient" for those of the largest mean gradient over the session's data.
        n: how many trainable numbers there are.
        k: how many to choose.
    """
    if method == "gradient":
        return largest(flatten(mean_gradient(session, session.data)), k)
    mask = torch.zeros(n, dtype=torch.bool)
    mask[torch.randperm(n, generator=session.rng)[:k]] = True
    return mask.to(session.device)


def narrowed(n: int, keep: float, budget: int) -> int:
    """Returns how many of ``n`` numbers a stage of the dynamic method leaves to the next."""
    return max(budget, int(keep * n))


def restore_unselected(session: TrainingSession, mask: Tensor) -> None:
    """Gives every parameter outside ``mask``, bool [d], the value that was received, bit by bit."""
    masks = unflatten(mask, received_parameters(session))
    restore_outside(learned(session.model), masks, session.reference)
