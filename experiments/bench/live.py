"""What a benchmark shows while it goes on: a bar, the time that is left, what runs, and each failure as it comes."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hauberk.experiments.bench.bench import Forecast
from hauberk.experiments.bench.results import BenchCell

MANY = 4  # running cells beyond which the line only counts the others


class Silent:
    """Shows nothing."""

    def begun(self, cell: BenchCell) -> None: ...  # noqa: D102
    def ended(self, cell: BenchCell, seconds: float, failed: str | None) -> None: ...  # noqa: D102
    def lost(self, cell: BenchCell, reason: str) -> None: ...  # noqa: D102


class Live:
    """Shows a benchmark on a terminal; where the output is none, a line for each cell."""

    def __init__(self, console: Console, forecast: Forecast, n_finished: int = 0) -> None:
        self._console, self._forecast = console, forecast
        columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, TextColumn("{task.fields[left]}"), console=console)
        total = n_finished + forecast.n_cells
        self._bar = self._progress.add_task("cells", total=total, completed=n_finished, left="")
        self._running: dict[str, str] = {}

    def __enter__(self) -> Live:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begun(self, cell: BenchCell) -> None:
        """Shows that a worker plays ``cell``."""
        self._running[cell.id] = cell.name
        self._refresh()

    def ended(self, cell: BenchCell, seconds: float, failed: str | None) -> None:
        """Shows a cell's end, and why it failed."""
        self._running.pop(cell.id, None)
        self._forecast.count(failed)
        self._progress.advance(self._bar)
        self._refresh()
        if failed:
            self._console.print(f"[red]failed[/] {escape(cell.name)}: {escape(failed)}", highlight=False)
        elif not self._console.is_terminal:
            self._console.print(f"finished {escape(cell.name)} in {seconds:.0f} s", highlight=False)

    def lost(self, cell: BenchCell, reason: str) -> None:
        """Shows that a cell is played again."""
        self._running.pop(cell.id, None)
        self._console.print(f"[yellow]again[/] {escape(cell.name)}: {escape(reason)}", highlight=False)

    def _refresh(self) -> None:
        names = list(self._running.values())
        shown = "; ".join(names[:MANY]) + (f" and {len(names) - MANY} more" if len(names) > MANY else "")
        left = self._forecast.seconds_left
        self._progress.update(
            self._bar, description=shown or "cells", left="" if left is None else f"{_clock(left)} left"
        )


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"
