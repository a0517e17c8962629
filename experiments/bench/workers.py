"""The workers of a benchmark: each a Ray actor that plays one cell after another, inline."""

from __future__ import annotations

import os
import resource
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCK_S = 60.0


@dataclass(frozen=True)
class Played:
    """What became of a cell on a worker.

    Attributes:
        failed: why it has no result; None where it has one.
        fault: whether that is the fault of the machine, so that the cell may be played again elsewhere.
        seconds: wall time of the whole cell, preparation included.
        peak_memory_mb: the worker's peak resident memory so far.
    """

    failed: str | None
    seconds: float
    peak_memory_mb: float
    fault: bool = False


class CellWorker:
    """One process; made a Ray actor by whoever starts it."""

    def __init__(self, threads: int) -> None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
        self._shared: Any = None  # what cells have in common, once there is one

    def ready(self, shared: str, directory: str) -> int:
        """Imports what a run needs and returns the process id.

        Args:
            shared: the benchmark's folder.
            directory: where relative paths of a spec start, if it is on this node.

        Raises:
            FileNotFoundError: this node does not see the benchmark's folder.
        """
        if not Path(shared).exists():
            raise FileNotFoundError(
                f"{shared}: not on the node {os.uname().nodename}; the folder must be shared"
            )
        if Path(directory).is_dir():
            os.chdir(directory)
        from hauberk.experiments.runner import execute  # noqa: F401
        from hauberk.experiments.runner.data import SharedData

        self._shared = SharedData()
        return os.getpid()

    def play(self, tables: dict[str, Any], folder: str) -> Played:
        """Runs one cell into its folder, going on from a checkpoint where there is one."""
        started, failed, fault = time.monotonic(), None, False
        try:
            _play(tables, Path(folder), self._shared)
        except OSError as error:  # a disk that is full is not the cell's fault
            failed, fault = f"{type(error).__name__}: {error}", True
        except (
            Exception
        ) as error:  # whatever a cell raises is a row of the report, never the end of the benchmark
            failed = _reason(error)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return Played(
            failed, time.monotonic() - started, peak / (1e6 if sys.platform == "darwin" else 1e3), fault
        )


def _play(tables: dict[str, Any], folder: Path, shared: Any) -> None:
    """Runs one cell; the worker of a benchmark that was killed may still hold its folder for some seconds."""
    from hauberk.experiments import run
    from hauberk.experiments.runner.lock import Locked

    inline = {**tables, "engine": {**tables.get("engine", {}), "name": "inline"}}
    end = time.monotonic() + LOCK_S
    while True:
        try:
            run(inline, out=folder, resume=(folder / "checkpoint").exists(), shared=shared)
            return
        except Locked:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _reason(error: Exception) -> str:
    """Returns one line: a user's mistake as it is, anything else with the place where it arose."""
    from hauberk.server.round import RoundFailed
    from hauberk.tasks.errors import UserError

    text = " ".join(str(error).split())
    if isinstance(error, UserError | RoundFailed):
        return text
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({Path(last.filename).name} line {last.lineno})"
