"""The honest loop: epochs of batches, one optimiser step each, with the plugins' hooks around it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hauberk.clients.plugins.base import Closure, step_of
from hauberk.tasks.precision import autocast
from hauberk.tasks.training_session import TrainingSession


def train(session: TrainingSession) -> dict[str, float]:
    """Trains ``session.model`` in place.

    Returns:
        ``loss``, the mean over the examples of the last epoch, which is not hidden where it is not finite; and
        what the plugins report.
    """
    plugins = session.training.plugins
    for plugin in plugins:
        plugin.setup(session)
    session.model.train()
    losses: list[tuple[Tensor, int]] = []
    for epoch in range(session.training.epochs):
        losses = [(_step(session, batch), len(batch)) for batch in session.batches(epoch)]
    report = {"loss": _mean(losses)}
    for plugin in plugins:
        report |= plugin.finish(session)
    return report


def closure_of(session: TrainingSession, batch: Any) -> Closure:
    """Returns what computes the loss of ``batch`` and leaves its gradients, as the plugins want them."""

    def closure() -> Tensor:
        session.optimizer.zero_grad(set_to_none=True)
        with autocast(session.training.precision, session.device):
            loss = session.loss(session.model, batch)
        loss.backward()
        for plugin in session.training.plugins:
            plugin.gradients(session)
        return loss.detach()

    return closure


def _step(session: TrainingSession, batch: Any) -> Tensor:
    return step_of(session.training.plugins).step(session, closure_of(session, batch))


def _mean(losses: list[tuple[Tensor, int]]) -> float:
    """Returns the mean loss per example; the tensors are read only here, so that no step waits for another."""
    total = torch.stack([loss.double() * n for loss, n in losses]).sum()
    return float(total) / max(1, sum(n for _, n in losses))  # Poisson's batches may all be empty
