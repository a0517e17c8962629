"""What ``hauberk bench`` does: reads the grid, plays what is left of it, and says what came of it."""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from hauberk.experiments.bench.bench import Forecast, Outcome, Watcher, play_cells
from hauberk.experiments.bench.grid import check_cells
from hauberk.experiments.bench.grid_file import read_grid
from hauberk.experiments.bench.live import Live, Silent
from hauberk.experiments.bench.results import Results, open_results
from hauberk.experiments.bench.schedule import Schedule, schedule_of
from hauberk.experiments.runner.signals import stoppable

FAILED = 4
STOPPED = 130


def bench_grid(
    console: Console,
    grid_file: Path,
    *,
    out: Path | None = None,
    workers: int | None = None,
    resume: bool = False,
    address: str | None = None,
    changes: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
) -> Outcome:
    """Plays the cells of a grid that are not finished yet, and returns what came of them.

    Args:
        console: where progress is shown; a quiet one shows nothing.
        grid_file: the grid.
        out: the benchmark's folder; default ``runs/<name>``.
        workers: how many cells at once; default one a core.
        resume: go on in a folder that holds this grid already.
        address: of a Ray cluster; default this machine.
        changes: ``a.b=value`` for the spec that all cells share.
        only: ``key=label,label``: the values of a key of the grid that are wanted.

    Raises:
        UserError: the grid or its folder make the benchmark impossible, or the disk is full.
    """
    grid = read_grid(grid_file, changes, only)
    cells = grid.cells()
    specs = check_cells(cells)
    out = default_out(grid.name, out)
    options = [part for change in changes for part in ("--set", change)]
    options += [part for cut in only for part in ("--only", cut)]
    command = shlex.join(["hauberk", "bench", str(grid_file), *options])
    results = open_results(out, grid, cells, specs, resume=resume, command=command)
    schedule = _left(results)
    n_finished = len(results.cells) - len(schedule.waiting)
    console.print(
        f"[bold]{grid.name}[/]: {len(results.cells)} cells, {n_finished} finished, in {results.path}",
        highlight=False,
    )
    threads = max((spec.engine.threads_per_client for spec in specs), default=1)
    with stoppable() as stop, _ray(address) as cores:
        n_workers = min(workers or max(1, cores // threads), max(1, len(schedule.waiting)))
        with _watched(console, Forecast(len(schedule.waiting), n_workers), n_finished) as watcher:
            return _played(results, schedule, watcher, stop, n_workers, threads)


def default_out(name: str, out: Path | None) -> Path:
    """Returns the folder of the benchmark ``name``, where ``out`` names no other."""
    return out or Path("runs") / name


def _left(results: Results) -> Schedule:
    """Returns the cells that are not finished; each attacked one knows its twin where that is a cell, too."""
    twins = {cell.twin: cell.id for cell in results.cells if not cell.attacked}
    waiting = [cell for cell in results.cells if results.status(cell) != "finished"]
    return schedule_of(
        waiting, {cell.id: twins[cell.twin] for cell in waiting if cell.attacked and cell.twin in twins}
    )


def _played(
    results: Results,
    schedule: Schedule,
    watcher: Watcher,
    stop: threading.Event,
    n_workers: int,
    threads: int,
) -> Outcome:
    from hauberk.experiments.bench.pool import cell_pool

    with cell_pool(n_workers, threads, str(results.path.resolve())) as pool:
        return play_cells(results, schedule, pool, watcher, stop)


@contextlib.contextmanager
def _watched(console: Console, forecast: Forecast, n_finished: int) -> Iterator[Watcher]:
    if console.quiet:
        yield Silent()
        return
    with Live(console, forecast, n_finished) as live:
        yield live


@contextlib.contextmanager
def _ray(address: str | None) -> Iterator[int]:
    """Connects to Ray and yields its cores; a session that was there before stays."""
    import ray

    from hauberk.experiments.engines.cluster import connect, disconnect

    ours = connect(address)
    try:
        yield int(ray.cluster_resources().get("CPU", 1))
    finally:
        if ours:
            disconnect()


def show_outcome(console: Console, outcome: Outcome) -> int:
    """Says what a benchmark came to and returns its exit code: 0, 4 where cells failed, 130 where it was stopped."""
    console.print(f"{outcome.finished} cells finished, {outcome.failed} failed", highlight=False)
    if outcome.stopped:
        console.print("stopped; --resume goes on", highlight=False)
        return STOPPED
    return FAILED if outcome.failed else 0
