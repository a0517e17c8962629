"""The engine that a spec names."""

from __future__ import annotations

import threading

from hauberk.experiments.engines.base import Engine
from hauberk.experiments.spec.loader import Spec
from hauberk.tasks.errors import UserError


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
    if spec.engine.name == "flower":
        from hauberk.experiments.engines.simulation import SimulationEngine

        return SimulationEngine(spec, stop)
    from hauberk.experiments.engines.ray import RayEngine

    return RayEngine(spec, stop, address)
