"""Spreads work over threads of our own, each of which does whole pieces by itself.

Threads within one operation wait for each other at its end, thousands of times a second; beside another busy
process, each time for the one that was not let run. Pieces taken from a queue wait for no one. NumPy and torch leave
the interpreter to others while they calculate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")


def n_threads() -> int:
    """Returns how many threads torch may use here."""
    return torch.get_num_threads()


def in_threads(work: Callable[[Job], Result], jobs: Iterable[Job]) -> list[Result]:
    """Returns what ``work`` makes of each job, in their order; one thread does them without any pool."""
    if n_threads() == 1:
        return [work(job) for job in jobs]
    with ThreadPoolExecutor(n_threads()) as pool:
        return list(pool.map(work, jobs))
