"""The contract of a client plugin: four hooks over one session, each doing nothing by default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hauberk.tasks.errors import UserError
from hauberk.tasks.training_session import TrainingSession

Closure = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """Changes how a client trains.

    It keeps nothing on itself: what lasts for the round goes to ``session.scratch``, what comes back in the
    client's next round to ``session.state``, both under keys that begin with the plugin's name.

    Attributes:
        modality: what data a task must have for it; None for any.
        owns_step: whether ``step`` replaces the optimiser's; at most one plugin of a client may.
        owns_batches: whether ``setup`` replaces the session's batches, also those that a tamper chose.
        whole_table: ``False`` promises that the plugin treats each row of the word embeddings by itself and
            leaves one alone whose gradient is zero: then rows that the client's texts do not use may be left
            out while it trains.
    """

    modality: ClassVar[str | None] = None
    owns_step: ClassVar[bool] = False
    owns_batches: ClassVar[bool] = False
    whole_table: ClassVar[bool] = True

    def check(self, plugins: Sequence[Plugin]) -> None:
        """Raises UserError if it cannot do its part in this list, of which it is one."""

    def setup(self, session: TrainingSession) -> None:
        """Runs before the first batch; may replace the session's optimiser, batches, loss or reference."""

    def gradients(self, session: TrainingSession) -> None:
        """Runs after every backward pass; changes the gradients in place."""

    def step(self, session: TrainingSession, closure: Closure) -> Tensor:
        """Takes one optimiser step; called only where ``owns_step``.

        Args:
            session: the client's round.
            closure: clears the gradients, computes the loss of the current batch, runs the backward pass and
                every plugin's ``gradients``, and returns the loss; may be called more than once.

        Returns:
            The loss to report, a scalar.
        """
        loss = closure()
        session.optimizer.step()
        return loss

    def finish(self, session: TrainingSession) -> dict[str, float]:
        """Runs after the last batch; returns scalars worth logging, named ``plugin/what``."""
        return {}


def check_plugins(plugins: Sequence[Plugin]) -> None:
    """Raises UserError if more than one plugin wants to own the step, or if one cannot work in this list."""
    owners = [type(plugin).__name__ for plugin in plugins if plugin.owns_step]
    if len(owners) > 1:
        raise UserError(f"at most 1 plugin may own the step, got {len(owners)}: {', '.join(owners)}")
    for plugin in plugins:
        plugin.check(plugins)


def step_of(plugins: Sequence[Plugin]) -> Plugin:
    """Returns the plugin that takes the steps: the owner, or one that does it plainly."""
    return next((plugin for plugin in plugins if plugin.owns_step), Plugin())
