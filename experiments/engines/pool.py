"""Workers on Ray, and the watch over them: what a machine does wrong is done again elsewhere.

Each piece of work is a pure function of its arguments, so one that was lost with its worker runs again on another.
Only what it raised itself, or that it took too long, counted from its own start, comes out as its own failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import ray

from hauberk.experiments.engines.actor import Actor
from hauberk.experiments.engines.backlog import Backlog, Kept, Task, WorkFailed
from hauberk.experiments.engines.cluster import Workers, disconnect
from hauberk.experiments.engines.losses import Loss
from hauberk.experiments.engines.worker_slot import WATCH, Staff, WorkerSlot

__all__ = ["NoWorkersError", "Pool", "WorkFailed"]

START_S = 120.0  # how long there may be no worker at all, which none of the clients answers for


def nothing() -> None:
    """Does nothing, and makes nothing."""


class NoWorkersError(Exception):
    """Nobody is left who could work."""


class Pool:
    """Workers that start beside whatever their owner does; all of Ray lives in a thread of the pool's own.

    That thread must live as long as Ray: the processes that it starts die with it.

    Args:
        connect: connects to Ray, and returns whether the session is ours to end.
        workers: how many workers there should be on the cluster as it is now.
        first: what each worker does at once, beside whatever its owner does.
    """

    def __init__(
        self,
        connect: Callable[[], bool],
        workers: Callable[[], Workers],
        first: Callable[[], object] = nothing,
    ) -> None:
        self._connect, self._workers, self._first = connect, workers, first
        self._loop = asyncio.new_event_loop()
        self._backlog = Backlog()
        self._closing, self._may_keep = asyncio.Event(), asyncio.Event()
        self._kept = Kept(nothing, ())
        self._slots: list[WorkerSlot] = []
        self._running: set[asyncio.Task] = set()
        self._error: BaseException | None = None
        self._none_since: float | None = None
        self._connected, self._joined = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="workers")
        self._thread.start()

    # What its owner calls, from another thread.

    def submit(
        self,
        work: Callable[..., Any],
        *arguments: Any,
        client: int | None = None,
        timeout_s: float | None = None,
        filler: bool = False,
        most_bytes: int | None = None,
    ) -> Future:
        """Returns what ``work(kept, *arguments)`` will have returned on a worker, ``kept`` as `keep` made it there.

        Object references among ``arguments`` arrive as what they refer to. The future raises WorkFailed.

        Args:
            work: a function that can be pickled, and that does the same each time.
            *arguments: what it gets beside ``kept``.
            client: whose round it is, for the record of losses.
            timeout_s: how long it may take from its own start.
            filler: whether it is for workers that nothing else waits for.
            most_bytes: how large its result may be; a larger one is not even fetched.
        """
        task = Task(work, arguments, self._kept, client, timeout_s, filler, most_bytes)
        self._loop.call_soon_threadsafe(self._backlog.put, task)
        return task.future

    def keep(self, make: Callable[..., Any], *arguments: Any) -> None:
        """Lets every worker call ``make(*arguments)`` once, and gives the result to all work submitted from now on."""
        self._kept = Kept(make, arguments)
        self._loop.call_soon_threadsafe(self._may_keep.set)

    def grow(self) -> None:
        """Adds workers where the cluster has room for more than it had."""
        if self._connected.is_set():
            self._loop.call_soon_threadsafe(self._fill)

    def check(self) -> None:
        """Raises what stops the pool as a whole.

        Raises:
            UserError: Ray could not be reached.
            NoWorkersError: no worker can start, or none has been there for START_S.
        """
        if self._error is not None:
            raise self._error
        problems = [slot.problem for slot in self._slots]
        if problems and all(problems):
            raise NoWorkersError(f"no worker can start: {problems[0]}")
        if self._none_since is not None and time.monotonic() > self._none_since + START_S:
            raise NoWorkersError(f"no worker was there for {START_S:g} s")

    @property
    def size(self) -> int:
        """How many workers work now."""
        return sum(slot.works for slot in self._slots)

    @property
    def wanted(self) -> int:
        """How many workers there should be."""
        return max(1, len(self._slots))

    def wait_connected(self, timeout_s: float) -> bool:
        """Returns whether Ray is there, after at most ``timeout_s``."""
        return self._connected.wait(timeout_s)

    def take_losses(self) -> list[Loss]:
        """Returns the losses since the last call."""
        return self._backlog.take_losses()

    def close(self) -> None:
        """Begins to end the workers; `join` waits for them, and ends Ray where it is ours."""
        with contextlib.suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._closing.set)

    def join(self) -> None:
        """Returns when no process of ours is left."""
        self._joined.set()
        self._thread.join()

    # What happens in its own thread.

    def _run(self) -> None:
        owned = False
        try:
            owned = self._connect()
            self._loop.run_until_complete(self._main())
        except BaseException as error:
            self._error = error
        finally:
            if owned:
                # Whatever its owner still does drops references: Ray goes when the owner waits, or has gone itself.
                while not self._joined.wait(1.0) and threading.main_thread().is_alive():
                    pass
                disconnect()
            self._loop.close()

    async def _main(self) -> None:
        wanted = self._workers()
        # A worker that is lost is another one: Ray must not bring it back without what it kept.
        remote: Any = ray.remote  # whose types know no concurrency groups
        actor = remote(
            num_cpus=wanted.cpus,
            num_gpus=wanted.gpus,
            max_restarts=0,
            scheduling_strategy="SPREAD",
            concurrency_groups={WATCH: 1},
        )(Actor)
        self._staff = Staff(actor.remote, self._first, self._what_is_kept, self._backlog, self._count)
        self._count()
        self._fill()
        self._connected.set()
        await self._closing.wait()
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._backlog.cancel_all()

    def _fill(self) -> None:
        for _ in range(self._workers().number - len(self._slots)):
            self._slots.append(WorkerSlot(self._staff))
            running = self._loop.create_task(self._slots[-1].keep_working())
            running.add_done_callback(self._ended)
            self._running.add(running)

    def _ended(self, running: asyncio.Task) -> None:
        if not running.cancelled() and (error := running.exception()) is not None:
            self._error = error

    def _count(self) -> None:
        now = None if any(slot.works for slot in self._slots) else time.monotonic()
        self._none_since = now if now is None or self._none_since is None else self._none_since

    async def _what_is_kept(self) -> Kept:
        await self._may_keep.wait()
        return self._kept
