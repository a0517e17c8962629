"""Plays the cells of a grid, each once, on workers; what fails is written down and the others go on."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hauberk.experiments.bench.pool import CellPool
from hauberk.experiments.bench.results import BenchCell, Results
from hauberk.experiments.bench.schedule import TRIES, Schedule
from hauberk.experiments.bench.workers import Played
from hauberk.tasks.errors import UserError

POLL_S = 0.5
MIN_FREE_BYTES = 50e6  # below this a checkpoint may be cut short: better to stop while all is resumable


class Watcher(Protocol):
    """Who shows a benchmark."""

    def begun(self, cell: BenchCell) -> None:
        """A worker began a cell."""

    def ended(self, cell: BenchCell, seconds: float, failed: str | None) -> None:
        """A cell is finished, or failed."""

    def lost(self, cell: BenchCell, reason: str) -> None:
        """A cell's worker was lost; the cell is played again."""


@dataclass(frozen=True)
class Outcome:
    """What a benchmark came to: how many cells are finished and failed, and whether it was stopped before its end."""

    finished: int
    failed: int
    stopped: bool = False


def play_cells(
    results: Results, schedule: Schedule, pool: CellPool, watcher: Watcher, stop: threading.Event
) -> Outcome:
    """Plays all cells of ``schedule``.

    Raises:
        UserError: the disk is full, or no worker is left; what is finished is kept and what runs goes on with
            ``--resume``.
    """
    while not schedule.done and not stop.is_set():
        _check_disk(results)
        while pool.idle and (cell := schedule.take()):
            results.forget_failure(cell)
            watcher.begun(cell)
            pool.play(cell, str(results.folder(cell)))
        for cell, played in pool.wait(POLL_S):
            _book(results, schedule, watcher, cell, played)
    counts = [results.status(cell) for cell in results.cells]
    return Outcome(counts.count("finished"), counts.count("failed"), stop.is_set())


def _book(
    results: Results, schedule: Schedule, watcher: Watcher, cell: BenchCell, played: Played | str
) -> None:
    """Writes down what became of a cell: lost ones are played again, failed ones become a row with the reason."""
    lost = played if isinstance(played, str) else played.failed if played.fault else None
    if lost is not None and schedule.again(cell):
        watcher.lost(cell, lost)
        return
    if lost is None:
        assert isinstance(played, Played)
        schedule.finish(cell)
        failed, seconds = played.failed, played.seconds
    else:
        failed, seconds = f"{lost}, {TRIES} times", 0.0
    if failed:
        results.fail(cell, failed)
    watcher.ended(cell, seconds, failed)


def _check_disk(results: Results) -> None:
    free = shutil.disk_usage(results.path).free
    if free < MIN_FREE_BYTES:
        raise UserError(
            f"{results.path}: {free / 1e6:.0f} MB of disk are left, at least {MIN_FREE_BYTES / 1e6:.0f} are needed; "
            "--resume goes on once there is room"
        )


@dataclass
class Forecast:
    """Counts cells and foretells the end.

    Args:
        n_cells: how many are to be played.
        n_workers: how many at once.
    """

    n_cells: int
    n_workers: int
    finished: int = 0
    failed: int = 0
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._started = self.clock()

    def count(self, failed: str | None) -> None:
        """Books one more cell."""
        self.failed += failed is not None
        self.finished += failed is None

    @property
    def seconds_left(self) -> float | None:
        """The seconds until the last cell ends if the others take as long as those so far; None before the first."""
        done = self.finished + self.failed
        if not done:
            return None
        return (self.clock() - self._started) / done * (self.n_cells - done)
