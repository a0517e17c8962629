"""Which cell a worker gets next: none twice, one seed after another, twins before the cells measured against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hauberk.experiments.bench.results import BenchCell

TRIES = 3  # how often a cell is begun whose worker or node dies


@dataclass
class Schedule:
    """The cells that are left, those that are running, and how often each was begun.

    Attributes:
        waiting: cells to play, seed by seed, twins first.
        twin_of: for each attacked cell the id of the twin that is a cell of this grid, if one is.
    """

    waiting: list[BenchCell]
    twin_of: dict[str, str]
    running: dict[str, BenchCell] = field(default_factory=dict)
    begun: dict[str, int] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether nothing is left to play."""
        return not self.waiting and not self.running

    def take(self) -> BenchCell | None:
        """Returns the next cell, None where all that wait need a twin that is still being played."""
        unfinished = {cell.id for cell in self.waiting} | set(self.running)
        for place, cell in enumerate(self.waiting):
            if self.twin_of.get(cell.id) not in unfinished:
                del self.waiting[place]
                self.running[cell.id] = cell
                self.begun[cell.id] = self.begun.get(cell.id, 0) + 1
                return cell
        return None

    def finish(self, cell: BenchCell) -> None:
        """Takes a cell off the running ones."""
        del self.running[cell.id]

    def again(self, cell: BenchCell) -> bool:
        """Puts a cell whose worker was lost back, first in line; False where it was begun often enough."""
        self.finish(cell)
        if self.begun[cell.id] >= TRIES:
            return False
        self.waiting.insert(0, cell)
        return True


def schedule_of(cells: Sequence[BenchCell], twins: dict[str, str]) -> Schedule:
    """Returns the schedule of ``cells``; ``twins`` gives the id of each attacked cell's twin."""
    ids = {cell.id for cell in cells}
    # A seed after another, so that what was stopped can be compared; else the grid's order, since sorting is stable.
    waiting = sorted(cells, key=lambda cell: (cell.tables.get("seed", 0), cell.attacked))
    return Schedule(waiting, {cell: twin for cell, twin in twins.items() if twin in ids})
