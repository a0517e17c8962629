"""What became of a worker that was lost: one line for a record, and what its user can do."""

from __future__ import annotations

from dataclasses import dataclass

import ray

from hauberk.experiments.engines.actor import Place, described
from hauberk.experiments.engines.cluster import node_lives

KILLED = "its worker process was killed"
OUT_OF_MEMORY = "its worker ran out of memory"
NODE_LOST = "its node was lost"
SILENT = "its worker did not answer"


@dataclass(frozen=True)
class Loss:
    """A worker that was lost.

    Attributes:
        client: whose round it did; None for other work, or none.
        node: the address of its machine.
        pid: its process there.
        reason: what became of it.
        idle: whether it did nothing then.
    """

    client: int | None
    node: str
    pid: int
    reason: str
    idle: bool = False


def reason_of(error: BaseException | None, place: Place | None = None) -> str:
    """Returns one line that says what became of a worker."""
    if isinstance(error, ray.exceptions.RayTaskError):
        return described(error.cause)
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return OUT_OF_MEMORY
    if "node has died" in str(error) or (place is not None and not node_lives(place.node_id)):
        return NODE_LOST
    return KILLED if isinstance(error, ray.exceptions.ActorDiedError) else SILENT


def given_up(losses: list[str]) -> str:
    """Returns why work that was lost again and again is given up, and what its user can do."""
    counts = {reason: losses.count(reason) for reason in losses}
    kinds = "; ".join(reason + (f" ({count} times)" if count > 1 else "") for reason, count in counts.items())
    memory = KILLED in losses or OUT_OF_MEMORY in losses
    return kinds + ("; where that is for want of memory, set engine.workers lower" if memory else "")
