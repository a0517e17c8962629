"""Workers on Ray, and the watch over them: what a machine does wrong is done again elsewhere.

Each piece of work is a pure function of its arguments, so one that was lost with its worker runs again on another.
Only what it raised itself, or that it took too long, counted from its own start, comes out as its own failure.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import ray

from hauberk.experiments.engines.actor import Actor, Outcome, Place
from hauberk.experiments.engines.cluster import Workers, disconnect
from hauberk.experiments.engines.losses import OUT_OF_MEMORY, Loss, given_up, reason_of

RERUNS = 2  # how often lost work runs again
START_S = 120.0  # how long there may be no worker at all, which none of the clients answers for
FETCH_S = 60.0  # how long a finished result may take to arrive
ANSWER_S = 5.0  # how long a worker may take to show that it lives
IDLE_S = 1.0  # after which it has to
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # before a worker that could not start is tried again

WATCH = "watch"  # Ray's concurrency group of the call that lasts as long as its worker


def nothing() -> None:
    """Does nothing, and makes nothing."""


class WorkFailed(Exception):
    """What the work itself did wrong, or why it was given up, in one line."""


class NoWorkersError(Exception):
    """Nobody is left who could work."""


@dataclass(frozen=True, eq=False)
class Kept:
    """How each worker makes the object that work gets first."""

    make: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(eq=False)
class Task:
    """One piece of work and what has become of it."""

    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    kept: Kept
    client: int | None
    timeout_s: float | None
    filler: bool = False
    most_bytes: int | None = None
    future: Future = field(default_factory=Future)
    losses: list[str] = field(default_factory=list)


@dataclass(eq=False)
class Slot:
    """The place of one worker: one after another, if they are lost."""

    works: bool = False
    failures: int = 0  # to start, one after another
    problem: str | None = None  # why no worker can start here


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
        self._tasks: asyncio.PriorityQueue[tuple[bool, int, int, Task]] = asyncio.PriorityQueue()
        self._serial = itertools.count()
        self._closing, self._may_keep = asyncio.Event(), asyncio.Event()
        self._kept = Kept(nothing, ())
        self._slots: list[Slot] = []
        self._running: set[asyncio.Task] = set()
        self._losses: list[Loss] = []
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
        self._loop.call_soon_threadsafe(self._put, task)
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
        taken, self._losses = self._losses, []
        return taken

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
        self._actor = remote(
            num_cpus=wanted.cpus,
            num_gpus=wanted.gpus,
            max_restarts=0,
            scheduling_strategy="SPREAD",
            concurrency_groups={WATCH: 1},
        )(Actor)
        self._count()
        self._fill()
        self._connected.set()
        await self._closing.wait()
        for running in self._running:
            running.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        while not self._tasks.empty():
            self._tasks.get_nowait()[-1].future.cancel()

    def _fill(self) -> None:
        for _ in range(self._workers().number - len(self._slots)):
            self._slots.append(Slot())
            running = self._loop.create_task(self._keep_working(self._slots[-1]))
            running.add_done_callback(self._ended)
            self._running.add(running)

    def _ended(self, running: asyncio.Task) -> None:
        if not running.cancelled() and (error := running.exception()) is not None:
            self._error = error

    def _put(self, task: Task) -> None:
        # What was lost comes first, so that nobody waits for it at the round's end.
        self._tasks.put_nowait((task.filler, -len(task.losses), next(self._serial), task))

    def _count(self) -> None:
        now = None if any(slot.works for slot in self._slots) else time.monotonic()
        self._none_since = now if now is None or self._none_since is None else self._none_since

    async def _keep_working(self, slot: Slot) -> None:
        """Starts workers, one after another, and lets each work until it is lost."""
        while True:
            actor = self._actor.remote()
            try:
                place = await arrival(actor.start.remote(self._first))
                await self._may_keep.wait()
                kept = self._kept
                await arrival(actor.keep.remote(kept.make, *kept.arguments))
                slot.failures, slot.problem, slot.works = 0, None, True
                self._count()
                await self._work(actor, place, kept)
            except ray.exceptions.RayError as error:  # it could not start
                slot.failures += 1
                if isinstance(error, ray.exceptions.RayTaskError) or slot.failures > RERUNS:
                    slot.problem = reason_of(error)
            finally:
                slot.works = False
                self._count()
                with contextlib.suppress(Exception):
                    ray.kill(actor, no_restart=True)
            if slot.failures:
                await asyncio.sleep(PAUSES_S[min(slot.failures, len(PAUSES_S)) - 1])

    async def _work(self, actor: Any, place: Place, kept: Kept) -> None:
        """Gives a worker that has ``kept`` one task after another, until it is lost."""
        lives, end = True, actor.last.options(concurrency_group=WATCH).remote().future()
        death = asyncio.wrap_future(end)
        # A loss that shows elsewhere first leaves this one's exception to nobody, of which asyncio would complain.
        death.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        while lives:
            since = time.monotonic()
            task = await self._task_before(death)
            if task is None:
                self._losses.append(
                    Loss(None, place.node, place.pid, reason_of(death.exception(), place), idle=True)
                )
                return
            if task.future.cancelled():
                continue
            try:
                if time.monotonic() > since + IDLE_S:
                    await arrival(actor.answer.remote(), ANSWER_S)
                if task.kept is not kept:
                    kept = task.kept
                    await arrival(actor.keep.remote(kept.make, *kept.arguments))
                lives = await self._do(task, actor, place)
            except (TimeoutError, ray.exceptions.RayError) as error:  # before it began: no try of the task's
                self._losses.append(Loss(None, place.node, place.pid, reason_of(error, place), idle=True))
                self._put(task)
                return
            except asyncio.CancelledError:
                task.future.cancel()
                raise

    async def _task_before(self, death: asyncio.Future) -> Task | None:
        """Returns the next task for a worker, or None where the worker dies before there is one."""
        getting = asyncio.ensure_future(self._tasks.get())
        try:
            await asyncio.wait({getting, death}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            getting.cancel()
        if not getting.done():
            return None
        task: Task = getting.result()[-1]
        if death.done():
            self._put(task)
            return None
        return task

    async def _do(self, task: Task, actor: Any, place: Place) -> bool:
        """Has a task done, and returns whether the worker can go on."""
        try:
            ended, value = actor.run.options(num_returns=2).remote(task.work, *task.arguments)
            outcome: Outcome = await arrival(ended, task.timeout_s)
        except ray.exceptions.RayTaskError as error:  # what Ray could not carry to it, or back
            task.future.set_exception(WorkFailed(reason_of(error)))
            return True
        except TimeoutError:
            task.future.set_exception(WorkFailed(f"timed out after {task.timeout_s:g} s"))
            return False
        except ray.exceptions.RayError as error:
            return self._lose(task, place, reason_of(error, place))
        if outcome.out_of_memory:  # a new process begins with what this one holds
            return self._lose(task, place, OUT_OF_MEMORY)
        if outcome.error is not None:
            task.future.set_exception(WorkFailed(outcome.error))
            return True
        if task.most_bytes is not None and (size := size_of(value)) > task.most_bytes:
            task.future.set_exception(
                WorkFailed(f"its result is oversized: {size} bytes, allowed are {task.most_bytes}")
            )
            return True
        try:
            task.future.set_result(await arrival(value, FETCH_S))
        except (TimeoutError, ray.exceptions.RayError) as error:
            return self._lose(task, place, reason_of(error, place))
        return True

    def _lose(self, task: Task, place: Place, reason: str) -> bool:
        """Records a loss and has the task done again, or gives it up."""
        self._losses.append(Loss(task.client, place.node, place.pid, reason))
        task.losses.append(reason)
        if len(task.losses) <= RERUNS:
            self._put(task)
        else:
            task.future.set_exception(WorkFailed(given_up(task.losses)))
        return False


async def arrival(reference: Any, timeout_s: float | None = None) -> Any:
    """Returns what a Ray reference comes to; raises TimeoutError when that takes too long."""
    # Not wait_for: until Python 3.12 it forgets that it was cancelled where the result comes at the same moment.
    async with asyncio.timeout(timeout_s):
        return await asyncio.wrap_future(reference.future())


def size_of(reference: Any) -> int:
    """Returns the bytes of what a Ray reference comes to, which is there and stays where it is."""
    return int(ray.experimental.get_object_locations([reference])[reference]["object_size"] or 0)
