"""The processes that play cells: Ray actors, replaced when they die, on one machine or a cluster."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import ray

from hauberk.experiments.bench.results import BenchCell
from hauberk.experiments.bench.workers import CellWorker, Played

START_S = 120.0


class CellPool:
    """Workers that play cells.

    Args:
        n_workers: how many cells are played at once.
        threads: torch threads of each; the bits depend on them.
        shared: the benchmark's folder, which every node must see.
    """

    def __init__(self, n_workers: int, threads: int, shared: str) -> None:
        self._actor: Any = ray.remote(num_cpus=threads, max_restarts=0)(CellWorker)
        self._threads, self._shared = threads, shared
        self._idle = [self._started() for _ in range(n_workers)]
        self._playing: dict[Any, tuple[Any, BenchCell]] = {}

    @property
    def idle(self) -> int:
        """How many workers wait for a cell."""
        return len(self._idle)

    def play(self, cell: BenchCell, folder: str) -> None:
        """Gives ``cell`` to an idle worker."""
        actor = self._idle.pop()
        self._playing[actor.play.remote(cell.tables, folder)] = (actor, cell)

    def wait(self, seconds: float) -> list[tuple[BenchCell, Played | str]]:
        """Returns what has ended within ``seconds``: each cell, and what became of it or how its worker was lost."""
        if not self._playing:
            return []
        done, _ = ray.wait(list(self._playing), timeout=seconds)
        return [self._ended(future) for future in done]

    def close(self) -> None:
        """Ends every worker at once; what they play is resumable."""
        for actor in (*self._idle, *(actor for actor, _ in self._playing.values())):
            with contextlib.suppress(Exception):
                ray.kill(actor, no_restart=True)

    def _ended(self, future: Any) -> tuple[BenchCell, Played | str]:
        actor, cell = self._playing.pop(future)
        try:
            played = ray.get(future)
        except ray.exceptions.RayError as error:
            self._idle.append(self._started())
            return cell, _lost(error)
        self._idle.append(actor)
        return cell, played

    def _started(self) -> Any:
        actor = self._actor.remote(self._threads)
        actor.ready.remote(self._shared, os.getcwd())
        return actor


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
