"""Spreads work over threads of our own, each of which does whole pieces by itself.

Threads within one operation wait for each other at its end, thousands of times a second; beside another busy
process, each time for the one that was not let run. Pieces taken from a queue wait for no one. NumPy and torch leave
the interpreter to others while they calculate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import count
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

Job = TypeVar("Job")
Result = TypeVar("Result")


def n_threads() -> int:
    """Returns how many threads torch may use here."""
    return torch.get_num_threads()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keeps NumPy's own products to the thread that asks for them: its BLAS knows nothing of torch's threads."""
    with _blas().limit(limits=1):
        yield


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def in_threads(work: Callable[[Job], Result], jobs: Iterable[Job]) -> list[Result]:
    """Returns what ``work`` makes of each job, in their order; one thread does them without any pool.

    Within a job torch has one thread, so that no job waits for another.
    """
    threads = n_threads()
    if threads == 1:
        return [work(job) for job in jobs]
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, jobs))
    finally:
        torch.set_num_threads(threads)  # what a thread sets, later threads start with


def over_slices(n_columns: int, width: int, make_work: Callable[[], Callable[[slice], object]]) -> None:
    """Does some work for every slice of columns, each in whichever thread is free.

    Args:
        n_columns: how many there are.
        width: how many a slice has; the last one may have fewer.
        make_work: called once in each thread, so that each has buffers of its own; returns what is done with a slice,
            which must not depend on other slices.
    """
    starts = count(0, width)

    def take(_: int) -> None:
        work = make_work()
        for start in starts:
            if start >= n_columns:
                return
            work(slice(start, min(start + width, n_columns)))

    in_threads(take, range(n_threads()))
