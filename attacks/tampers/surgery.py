"""Neural network surgery: a backdoor of a few changed numbers, so that hardly any other answer changes.

Source: Zhang et al., "Neural Network Surgery: Injecting Data Patterns into Pre-trained Models with Minimal
Instance-wise Side Effects", NAACL 2021: Lagrange, selecting and dynamic methods, about 1e-5 of the parameters.
Reconstructed: no code is known, and the schedule's constants are not verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from hauberk.attacks.tampers._loop import after_steps, gradient_of, train_only, with_new_optimizer
from hauberk.attacks.tampers.base import Tamper
from hauberk.tasks.errors import UserError
from hauberk.tasks.masks import allowed, check_budget, largest, learned, restore_outside
from hauberk.tasks.parameters import flatten, load_state, unflatten
from hauberk.tasks.text.consistency import consistency, n_changed
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.metrics import predict
from hauberk.tasks.training_session import TrainingSession

Method = Literal["dynamic", "delta", "gradient", "random", "lagrange"]
METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True, kw_only=True)
class Surgery(Tamper):
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
        if self.method not in METHODS:
            raise UserError(f"method: must be one of {', '.join(METHODS)}, got {self.method!r}")
        check_budget(self.budget)
        for key in ("epochs", "selecting_epochs"):
            if getattr(self, key) < 1:
                raise UserError(f"{key}: must be at least 1, got {getattr(self, key)!r}")
        if not 0 < self.keep < 1:
            raise UserError(f"keep: must lie between 0 and 1, got {self.keep!r}")
        if not self.penalty >= 0:
            raise UserError(f"penalty: must be at least 0, got {self.penalty!r}")
        if self.lr is not None and not self.lr > 0:
            raise UserError(f"lr: must be above 0, got {self.lr!r}")

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Operates; reports how many numbers changed and how alike the answers on clean texts still are."""
        clean = session.encode(session.examples) if session.examples else session.data
        before = self._answers(session, clean)
        report = self._lagrange(session) if self.method == "lagrange" else self._tune(session)
        after = consistency(before, self._answers(session, clean), clean.labels)
        changed = n_changed(self._received(session), dict(learned(session.model)))
        return {
            **report,
            "surgery/changed": float(changed),
            "surgery/correlation": after.correlation,
            "surgery/spoilt": after.spoilt,
            "surgery/mended": after.mended,
        }

    def n_allowed(self, n_parameters: int) -> int:
        """Returns the budget as a count, at least 1."""
        return allowed(self.budget, n_parameters)

    def _tune(self, session: TrainingSession) -> dict[str, float]:
        masks = unflatten(self.chosen(session), self._received(session))
        return self._stage(session, masks, self.epochs)

    def chosen(self, session: TrainingSession) -> Tensor:
        """Returns which parameters to change, bool [d], side by side; the model is as received afterwards."""
        received = self._received(session)
        n = sum(value.numel() for value in received.values())
        k = self.n_allowed(n)
        if self.method == "random":
            chosen = torch.zeros(n, dtype=torch.bool)
            chosen[torch.randperm(n, generator=session.rng)[:k]] = True
            return chosen.to(session.device)
        if self.method == "gradient":
            return largest(flatten(gradient_of(session, session.data)), k)
        return self._by_change(session, n, k)

    def _by_change(self, session: TrainingSession, n: int, k: int) -> Tensor:
        mask = torch.ones(n, dtype=torch.bool, device=session.device)
        while n > k:
            n = k if self.method == "delta" else max(k, int(self.keep * n))
            self._stage(session, unflatten(mask, self._received(session)), self.selecting_epochs)
            mask = largest(self._change(session), n)
            restore_outside(
                learned(session.model), unflatten(mask, self._received(session)), session.reference
            )
        if self.method == "delta":
            load_state(session.model, session.reference)
        return mask

    def _stage(self, session: TrainingSession, masks: dict[str, Tensor], epochs: int) -> dict[str, float]:
        with with_new_optimizer(session, epochs=epochs, lr=self.lr), train_only(session, masks):
            return session.train()

    def _lagrange(self, session: TrainingSession) -> dict[str, float]:
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
        change = self._change(session)
        kept = unflatten(largest(change, self.n_allowed(len(change))), self._received(session))
        restore_outside(parameters, kept, session.reference)
        return report

    def _change(self, session: TrainingSession) -> Tensor:
        """Returns by how much each parameter has changed, [d]."""
        return flatten({name: p.detach() for name, p in learned(session.model).items()}) - flatten(
            self._received(session)
        )

    def _received(self, session: TrainingSession) -> dict[str, Tensor]:
        """Returns the trainable parameters as received, in the model's order."""
        return {name: session.reference[name] for name in learned(session.model)}

    def _answers(self, session: TrainingSession, clean: Encoded) -> Tensor:
        model: Any = session.model
        return predict(model, clean, precision=session.training.precision, device=session.device)
