"""What the model of a round is worth: measured here when it is asked for, or by others while the next round trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hauberk.server.evaluation import Metrics
from hauberk.server.server import Server
from hauberk.server.serving import predictor
from hauberk.server.state import ServerState


class Measured(Protocol):
    """Metrics that are there, or on their way."""

    def done(self) -> bool:
        """Returns whether `result` waits for nobody else."""

    def result(self) -> Metrics:
        """Returns the metrics, and waits for them where need be."""


Measure = Callable[[ServerState], Measured]  # begins to measure what answers after a round


@dataclass(frozen=True, eq=False)
class MeasuredHere:
    """A measurement by the server's own model, made when its result is asked for; of what its rule would serve."""

    server: Server
    state: ServerState

    def done(self) -> bool:  # noqa: D102
        return True

    def result(self) -> Metrics:  # noqa: D102
        return self.server.evaluate.of(predictor(self.server, self.state))


def is_due(server: Server, number: int, rounds: int) -> bool:
    """Returns whether the model of round ``number`` is measured: every so many rounds, and the last of ``rounds``."""
    return number % server.evaluate_every == 0 or number == rounds
