"""The processes that play cells: Ray actors, replaced when they die, on one machine or a cluster."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray

from hauberk.experiments.bench.results import BenchCell
from hauberk.experiments.bench.workers import CellWorker, Played
from hauberk.tasks.errors import UserError

START_S = 120.0  # how long there may be no worker at all: Ray itself waits for ever


@dataclass(frozen=True, eq=False)
class Started:
    """A worker that may still be starting: its actor, and what is there once it has started."""

    actor: Any
    ready: Any


class CellPool:
    """Workers that play cells; one that cannot start, as where its node was lost, holds none.

    Args:
        n_workers: how many cells are played at once.
        threads: torch threads of each; the bits depend on them.
        shared: the benchmark's folder, which every node must see.
    """

    def __init__(self, n_workers: int, threads: int, shared: str) -> None:
        self._actor: Any = ray.remote(num_cpus=threads, max_restarts=0)(CellWorker)
        self._threads, self._shared = threads, shared
        self._starting = [self._started() for _ in range(n_workers)]
        self._idle: list[Started] = []
        self._playing: dict[Any, tuple[Started, BenchCell]] = {}
        self._last_seen = time.monotonic()  # when a worker was there

    @property
    def idle(self) -> int:
        """How many workers have started and wait for a cell."""
        return len(self._idle)

    def play(self, cell: BenchCell, folder: str) -> None:
        """Gives ``cell`` to an idle worker."""
        worker = self._idle.pop()
        self._playing[worker.actor.play.remote(cell.tables, folder)] = (worker, cell)

    def wait(self, seconds: float) -> list[tuple[BenchCell, Played | str]]:
        """Returns what has ended within ``seconds``: each cell, and what became of it or how its worker was lost.

        Raises:
            UserError: no worker has been there for START_S.
        """
        starting = {worker.ready: worker for worker in self._starting}
        done, _ = ray.wait([*self._playing, *starting], timeout=seconds)
        for ready in done:
            if ready in starting:
                self._starting.remove(starting[ready])
                self._idle.append(starting[ready])
        if self._idle or self._playing:
            self._last_seen = time.monotonic()
        elif time.monotonic() > self._last_seen + START_S:
            raise UserError(f"no worker could start for {START_S:g} s: has Ray gone? --resume goes on")
        return [self._ended(future) for future in done if future in self._playing]

    def close(self) -> None:
        """Ends every worker at once; what they play is resumable."""
        for worker in (*self._starting, *self._idle, *(worker for worker, _ in self._playing.values())):
            with contextlib.suppress(Exception):
                ray.kill(worker.actor, no_restart=True)

    def _ended(self, future: Any) -> tuple[BenchCell, Played | str]:
        worker, cell = self._playing.pop(future)
        try:
            played = ray.get(future)
        except ray.exceptions.RayError as error:
            self._starting.append(self._started())
            return cell, _lost(error)
        self._idle.append(worker)
        return cell, played

    def _started(self) -> Started:
        actor = self._actor.remote(self._threads)
        return Started(actor, actor.ready.remote(self._shared, os.getcwd()))


@contextlib.contextmanager
def cell_pool(n_workers: int, threads: int, shared: str) -> Iterator[CellPool]:
    """Yields a pool and ends its workers afterwards."""
    pool = CellPool(n_workers, threads, shared)
    try:
        yield pool
    finally:
        pool.close()


def _lost(error: Exception) -> str:
    """Returns in one line how a worker was lost."""
    if isinstance(error, ray.exceptions.OutOfMemoryError):
        return "its worker was killed for memory: set --workers lower"
    if isinstance(error, ray.exceptions.RayActorError):
        return "its worker or node died"
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {' '.join(str(cause).split())}"
