"""What an engine is: where the clients of a run train."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, ClassVar

from torch import Tensor

from hauberk.experiments.runner.setup import Prepared
from hauberk.server.assets import ServerAssets, Work, in_turn
from hauberk.server.measuring import Measure, MeasuredHere
from hauberk.server.round import Dispatch


class Engine(ABC):
    """Where the clients of a run train: a context manager that is entered before the data are read.

    Attributes:
        name: what ``summary.json`` calls it.
        stop: ends the run when set: a dispatch then raises `hauberk.server.app.Stopped`.
        warnings: what the user should know of who takes part, one line each; complete once there is a dispatch.
    """

    name: ClassVar[str]

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.warnings: list[str] = []

    @abstractmethod
    def dispatch(self, prepared: Prepared) -> Dispatch:
        """Returns what asks the clients of ``prepared`` and yields their replies, once all is there that it needs.

        Raises:
            UserError: the clients of this run cannot train here.
        """

    def measure(self, prepared: Prepared) -> Measure:
        """Returns what measures the models of ``prepared``, whose clients are there: by default, here."""
        return partial(MeasuredHere, prepared.server)

    def spread(
        self, work: Work, assets: ServerAssets, parameters: Tensor, pieces: Sequence[tuple[Any, ...]]
    ) -> list[Any]:
        """Has the server's pieces of work done, once there is a dispatch: by default, in turn and here."""
        return in_turn(work, assets, parameters, pieces)

    def for_twin(self) -> Engine:
        """Returns the engine that plays an attack-free twin: this one, where its clients do as they are told."""
        return self

    def take_losses(self) -> list[dict[str, Any]]:
        """Returns the workers that were lost since the last call, as a record holds them; their work was done again."""
        return []

    def take_refused_nodes(self) -> dict[int, str]:
        """Returns why nodes take no part that were refused since the last call, by node id, as a record holds them."""
        return {}

    def take_late(self) -> dict[int, str]:
        """Returns whose late replies were dropped since the last call, by client id, as a record holds them."""
        return {}

    def close(self) -> None:  # noqa: B027  (an engine may have started nothing)
        """Begins to end what the engine has started; leaving the context waits for it. May be called again."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
