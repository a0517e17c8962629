"""The work of a pool that waits for a worker, and what was lost of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from hauberk.experiments.engines.actor import Place
from hauberk.experiments.engines.losses import Loss, given_up

RERUNS = 2  # how often lost work runs again


class WorkFailed(Exception):
    """What the work itself did wrong, or why it was given up, in one line."""


@dataclass(frozen=True, eq=False)
class Kept:
    """How each worker makes the object that work gets first."""

    make: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(eq=False)
class Task:
    """One piece of work and what has become of it; the arguments are those of `Pool.submit`."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    kept: Kept
    client: int | None
    timeout_s: float | None
    filler: bool = False
    most_bytes: int | None = None
    future: Future = field(default_factory=Future)
    losses: list[str] = field(default_factory=list)

    def fail(self, reason: str) -> None:
        """Ends it with what went wrong."""
        self.future.set_exception(WorkFailed(reason))


class Backlog:
    """Tasks in the order in which workers take them; used from one event loop."""

    def __init__(self) -> None:
        self._waiting: asyncio.PriorityQueue[tuple[bool, int, int, Task]] = asyncio.PriorityQueue()
        self._serial = itertools.count()
        self._losses: list[Loss] = []

    def put(self, task: Task) -> None:
        """Adds a task: what was lost comes first, so that nobody waits for it at the round's end."""
        self._waiting.put_nowait((task.filler, -len(task.losses), next(self._serial), task))

    async def next_before(self, death: asyncio.Future) -> Task | None:
        """Returns the next task for a worker, or None where the worker dies before there is one."""
        getting = asyncio.ensure_future(self._waiting.get())
        try:
            await asyncio.wait({getting, death}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            getting.cancel()
        if not getting.done():
            return None
        task: Task = getting.result()[-1]
        if death.done():
            self.put(task)
            return None
        return task

    def lose(self, task: Task, place: Place, reason: str) -> None:
        """Records that a task was lost with its worker, and has it done again, or gives it up."""
        self._losses.append(Loss(task.client, place.node, place.pid, reason))
        task.losses.append(reason)
        if len(task.losses) <= RERUNS:
            self.put(task)
        else:
            task.fail(given_up(task.losses))

    def lose_idle(self, place: Place, reason: str) -> None:
        """Records that a worker was lost that had nothing to do."""
        self._losses.append(Loss(None, place.node, place.pid, reason, idle=True))

    def take_losses(self) -> list[Loss]:
        """Returns the losses since the last call."""
        taken, self._losses = self._losses, []
        return taken

    def cancel_all(self) -> None:
        """Cancels what still waits."""
        while not self._waiting.empty():
            self._waiting.get_nowait()[-1].future.cancel()
