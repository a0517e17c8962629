"""The honest loop on other data and settings, with something done before or after each step, or its gradient alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hauberk.tasks.masks import learned, mask_gradients, restore_outside
from hauberk.tasks.precision import autocast
from hauberk.tasks.training_session import TrainingSession


@contextmanager
def temporarily(session: TrainingSession, **changed: Any) -> Iterator[None]:
    """Runs its block with other attributes of ``session``."""
    before = {name: getattr(session, name) for name in changed}
    for name, value in changed.items():
        setattr(session, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(session, name, value)


@contextmanager
def with_new_optimizer(
    session: TrainingSession,
    data: Any = None,
    epochs: int | None = None,
    lr: float | None = None,
    reference: dict[str, Tensor] | None = None,
) -> Iterator[None]:
    """Runs its block with a new optimiser, and with what else is given in place of the session's own."""
    training = session.training if epochs is None else replace(session.training, epochs=epochs)
    if lr is not None:
        training = replace(training, optimizer=replace(training.optimizer, lr=lr))
    changed: dict[str, Any] = {"training": training}
    changed["optimizer"] = training.optimizer.build(session.model.parameters())
    if data is not None:
        changed["batches"] = lambda epoch: session.shuffled(data)
    if reference is not None:
        changed["reference"] = reference
    with temporarily(session, **changed):
        yield


@contextmanager
def after_steps(session: TrainingSession, act: Callable[[], None]) -> Iterator[None]:
    """Runs ``act`` inside the block after every step of the session's optimiser."""
    handle = session.optimizer.register_step_post_hook(lambda *_: act())
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def train_only(session: TrainingSession, masks: Mapping[str, Tensor]) -> Iterator[None]:
    """Lets only the coordinates in ``masks`` (bool, by name) learn; the others end bit by bit as received."""
    parameters = learned(session.model)
    handle = session.optimizer.register_step_pre_hook(lambda *_: mask_gradients(parameters, masks))
    try:
        yield
    finally:
        handle.remove()
    restore_outside(parameters, masks, session.reference)


def mean_gradient(session: TrainingSession, data: Any) -> dict[str, Tensor]:
    """Returns the mean gradient of the session's loss over ``data``, by name."""
    session.model.train()
    session.model.zero_grad(set_to_none=True)
    for batch in session.shuffled(data):
        with autocast(session.training.precision, session.device):
            loss = session.loss(session.model, batch)
        (loss * (len(batch) / len(data))).backward()
    found = {name: _gradient_or_zeros(parameter) for name, parameter in learned(session.model).items()}
    session.model.zero_grad(set_to_none=True)
    return found


def _gradient_or_zeros(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.detach().clone()
