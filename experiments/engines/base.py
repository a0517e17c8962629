"""What an engine is: where the clients of a run train."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, ClassVar

from hauberk.experiments.runner.setup import Prepared
from hauberk.experiments.spec.loader import Spec
from hauberk.server.round import Dispatch
from hauberk.tasks.errors import UserError


class Engine(ABC):
    """Where the clients of a run train: a context manager that is entered before the data are read.

    Attributes:
        name: what ``summary.json`` calls it.
        stop: ends the run when set: a dispatch then raises `hauberk.server.app.Stopped`.
    """

    name: ClassVar[str]

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop

    @abstractmethod
    def dispatch(self, prepared: Prepared) -> Dispatch:
        """Returns what asks the clients of ``prepared`` and yields their replies, once all is there that it needs.

        Raises:
            UserError: the clients of this run cannot train here.
        """

    def for_twin(self) -> Engine:
        """Returns the engine that plays an attack-free twin: this one, where its clients do as they are told."""
        return self

    def take_losses(self) -> list[dict[str, Any]]:
        """Returns the workers that were lost since the last call, as a record holds them; their work was done again."""
        return []

    def close(self) -> None:  # noqa: B027  (an engine may have started nothing)
        """Begins to end what the engine has started; leaving the context waits for it. May be called again."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def engine_of(spec: Spec, stop: threading.Event, address: str | None = None) -> Engine:
    """Returns the engine that ``spec`` names; only its own libraries are imported.

    Args:
        spec: what runs.
        stop: ends it when set.
        address: of a Ray cluster; see `hauberk.experiments.engines.cluster.connect`.

    Raises:
        UserError: there is an address, and the engine uses no cluster.
    """
    if address is not None and spec.engine.name != "ray":
        raise UserError(
            f"address: only engine.name = 'ray' uses a cluster, got {spec.engine.name!r} and {address!r}"
        )
    if spec.engine.name == "inline":
        from hauberk.experiments.engines.inline import InlineEngine

        return InlineEngine(stop)
    from hauberk.experiments.engines.ray import RayEngine

    return RayEngine(spec, stop, address)
