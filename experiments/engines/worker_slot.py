"""The place of one worker on Ray: one worker after another, each given work until it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import ray

from hauberk.experiments.engines.actor import Outcome, Place
from hauberk.experiments.engines.backlog import RERUNS, Backlog, Kept, Task
from hauberk.experiments.engines.losses import OUT_OF_MEMORY, reason_of

FETCH_S = 60.0  # how long a finished result may take to arrive
ANSWER_S = 5.0  # how long a worker may take to show that it lives
IDLE_S = 1.0  # after which it has to
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # before a worker that could not start is tried again

WATCH = "watch"  # Ray's concurrency group of the call that lasts as long as its worker


@dataclass(frozen=True, eq=False)
class Staff:
    """What the workers of a pool have in common.

    Attributes:
        hire: returns a new actor.
        first: what each does at once.
        kept: waits until it is known what each worker keeps, and returns that.
        backlog: the work.
        changed: called when a worker begins or ends.
    """

    hire: Callable[[], Any]
    first: Callable[[], object]
    kept: Callable[[], Awaitable[Kept]]
    backlog: Backlog
    changed: Callable[[], None]


class WorkerSlot:
    """One worker after another, if they are lost.

    Attributes:
        works: whether there is one now.
        problem: why no worker can start here.
    """

    def __init__(self, staff: Staff) -> None:
        self.works = False
        self.problem: str | None = None
        self._failures = 0  # to start, one after another
        self._staff = staff

    async def keep_working(self) -> None:
        """Starts workers, one after another, and lets each work until it is lost."""
        while True:
            actor = self._staff.hire()
            try:
                place = await arrival(actor.start.remote(self._staff.first))
                kept = await self._staff.kept()
                await arrival(actor.keep.remote(kept.make, *kept.arguments))
                self._failures, self.problem, self.works = 0, None, True
                self._staff.changed()
                await self._work(actor, place, kept)
            except ray.exceptions.RayError as error:  # it could not start
                self._failures += 1
                if isinstance(error, ray.exceptions.RayTaskError) or self._failures > RERUNS:
                    self.problem = reason_of(error)
            finally:
                self.works = False
                self._staff.changed()
                with contextlib.suppress(Exception):
                    ray.kill(actor, no_restart=True)
            if self._failures:
                await asyncio.sleep(PAUSES_S[min(self._failures, len(PAUSES_S)) - 1])

    async def _work(self, actor: Any, place: Place, kept: Kept) -> None:
        """Gives a worker that has ``kept`` one task after another, until it is lost."""
        backlog, lives = self._staff.backlog, True
        end = actor.last.options(concurrency_group=WATCH).remote().future()
        death = asyncio.wrap_future(end)
        # A loss that shows elsewhere first leaves this one's exception to nobody, of which asyncio would complain.
        death.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        while lives:
            since = time.monotonic()
            task = await backlog.next_before(death)
            if task is None:
                backlog.lose_idle(place, reason_of(death.exception(), place))
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
                backlog.lose_idle(place, reason_of(error, place))
                backlog.put(task)
                return
            except asyncio.CancelledError:
                task.future.cancel()
                raise

    async def _do(self, task: Task, actor: Any, place: Place) -> bool:
        """Has a task done, and returns whether the worker can go on."""
        try:
            ended, value = actor.run.options(num_returns=2).remote(task.work, *task.arguments)
            outcome: Outcome = await arrival(ended, task.timeout_s)
        except ray.exceptions.RayTaskError as error:  # what Ray could not carry to it, or back
            task.fail(reason_of(error))
            return True
        except TimeoutError:
            task.fail(f"timed out after {task.timeout_s:g} s")
            return False
        except ray.exceptions.RayError as error:
            return self._lose(task, place, reason_of(error, place))
        if outcome.out_of_memory:  # a new process begins with what this one holds
            return self._lose(task, place, OUT_OF_MEMORY)
        reason = _oversized(value, task.most_bytes) if outcome.error is None else outcome.error
        if reason is not None:
            task.fail(reason)
            return True
        try:
            task.future.set_result(await arrival(value, FETCH_S))
        except (TimeoutError, ray.exceptions.RayError) as error:
            return self._lose(task, place, reason_of(error, place))
        return True

    def _lose(self, task: Task, place: Place, reason: str) -> bool:
        self._staff.backlog.lose(task, place, reason)
        return False


async def arrival(reference: Any, timeout_s: float | None = None) -> Any:
    """Returns what a Ray reference comes to; raises TimeoutError when that takes too long."""
    # Not wait_for: until Python 3.12 it forgets that it was cancelled where the result comes at the same moment.
    async with asyncio.timeout(timeout_s):
        return await asyncio.wrap_future(reference.future())


def _oversized(reference: Any, most_bytes: int | None) -> str | None:
    """Returns why a result that is there is not even fetched, or None."""
    if most_bytes is None:
        return None
    size = int(ray.experimental.get_object_locations([reference])[reference]["object_size"] or 0)
    return f"its result is oversized: {size} bytes, allowed are {most_bytes}" if size > most_bytes else None
