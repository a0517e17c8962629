"""Commands watched from outside: how long they take, and what memory they and the processes below them hold.

Memory is the proportional set size: what several processes share counts once in all, each with its part of it.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

POLL_S = 0.05


@dataclass(frozen=True)
class Sample:
    """Memory at one moment.

    Attributes:
        seconds: since the command began.
        gb: by kind of process: "driver", "worker", "ray" (its servers), in GB of 1e9 bytes.
        largest_gb: of the largest process of each kind.
        resident_gb: the same, with all that it shares (RSS).
        private_gb: the same, without what it shares (USS).
    """

    seconds: float
    gb: dict[str, float]
    largest_gb: dict[str, float]
    resident_gb: dict[str, float]
    private_gb: dict[str, float]


@dataclass
class Watched:
    """A command that has ended."""

    seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list)

    def peak_gb(self, kind: str | None = None) -> float:
        """Returns the most that all processes of a kind held at one moment; all kinds by default."""
        held = (sum(s.gb.values()) if kind is None else s.gb.get(kind, 0.0) for s in self.samples)
        return max(held, default=0.0)

    def largest_gb(self, kind: str) -> float:
        """Returns the most that one process of a kind held."""
        return max((sample.largest_gb.get(kind, 0.0) for sample in self.samples), default=0.0)


def watched(
    command: list[str],
    sample_every_s: float | None = 0.5,
    at_each_poll: Callable[[float], object] | None = None,
) -> Watched:
    """Runs a command to its end and returns what was seen of it.

    Args:
        command: its words.
        sample_every_s: how often memory is read; None for never, since reading takes time from who is watched.
        at_each_poll: called every POLL_S with the seconds since the start.

    Raises:
        RuntimeError: it failed; with what it wrote.
    """
    seen, started, due = Watched(), time.perf_counter(), 0.0
    with tempfile.TemporaryFile("w+") as written:
        process = psutil.Popen(command, stdout=written, stderr=subprocess.STDOUT)
        while process.poll() is None:
            seen.seconds = time.perf_counter() - started
            if at_each_poll is not None:
                at_each_poll(seen.seconds)
            if sample_every_s is not None and seen.seconds >= due:
                due = seen.seconds + sample_every_s
                seen.samples.append(sample(process, seen.seconds))
            time.sleep(POLL_S)
        seen.seconds = time.perf_counter() - started
        if process.returncode:
            written.seek(0)
            raise RuntimeError(f"{' '.join(command)}: exit code {process.returncode}\n{written.read()}")
    return seen


def sample(root: psutil.Process, seconds: float) -> Sample:
    """Returns the memory of ``root`` and the processes below it now."""
    total, largest, resident, private = (defaultdict[str, float](float) for _ in range(4))
    for process in [root, *children(root)]:
        try:
            memory, kind = process.memory_full_info(), kind_of(process, root)
        except (psutil.Error, OSError):  # it has just ended
            continue
        total[kind] += memory.pss / 1e9
        for most, held in ((largest, memory.pss), (resident, memory.rss), (private, memory.uss)):
            most[kind] = max(most[kind], held / 1e9)
    return Sample(seconds, dict(total), dict(largest), dict(resident), dict(private))


def children(root: psutil.Process) -> list[psutil.Process]:
    """Returns all processes below ``root``; none where it has just ended."""
    try:
        return root.children(recursive=True)
    except psutil.Error:
        return []


def kind_of(process: psutil.Process, root: psutil.Process) -> str:
    """Returns what a process is in a run: its driver, a worker, or one of Ray's servers."""
    if process.pid == root.pid:
        return "driver"
    return "worker" if " ".join(process.cmdline()).startswith("ray::") else "ray"
