"""What the model of a round is worth: measured here when it is asked for, or by others while the next round trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from hauberk.server.evaluation import Metrics
from hauberk.server.server import Server
from hauberk.tasks.parameters import load_state


class Measured(Protocol):
    """Metrics that are there, or on their way."""

    def done(self) -> bool:
        """Returns whether `result` waits for nobody else."""

    def result(self) -> Metrics:
        """Returns the metrics, and waits for them where need be."""


Measure = Callable[[Tensor], Measured]  # begins to measure the model of these parameters, [n_params]


@dataclass(frozen=True, eq=False)
class MeasuredHere:
    """A measurement by the server's own model, made when its result is asked for."""

    server: Server
    parameters: Tensor

    def done(self) -> bool:  # noqa: D102
        return True

    def result(self) -> Metrics:  # noqa: D102
        load_state(self.server.model, self.parameters)
        return self.server.evaluate(self.server.model)


def is_due(server: Server, number: int, rounds: int) -> bool:
    """Returns whether the model of round ``number`` is measured: every so many rounds, and the last of ``rounds``."""
    return number % server.evaluate_every == 0 or number == rounds
