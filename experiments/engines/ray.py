"""The clients of a run on Ray: straight over a pool of workers, the parameters through the object store."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import Future
from dataclasses import asdict, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from hauberk.clients.messages import ClientReply, Instruction
from hauberk.experiments.engines import cluster
from hauberk.experiments.engines.base import Engine
from hauberk.experiments.engines.client_round import fit, make_worker, warm_up
from hauberk.experiments.engines.cluster import ray
from hauberk.experiments.engines.pool import NoWorkersError, Pool, WorkFailed
from hauberk.experiments.engines.server_work import done_on
from hauberk.experiments.engines.shards import ShardedMeasure
from hauberk.experiments.engines.shared_data import shared
from hauberk.experiments.runner.setup import Prepared
from hauberk.experiments.spec.loader import Spec
from hauberk.server.measuring import Measure
from hauberk.server.round import Dispatch, RoundFailed, Stopped
from hauberk.tasks.errors import UserError

POLL_S = 0.1
AHEAD = (
    2  # how many more clients are under way than workers: no worker waits for the server, and few replies do
)


class RayEngine(Engine):
    """Trains clients on Ray's workers.

    Args:
        spec: what runs.
        stop: ends the run when set.
        address: of the cluster, as `cluster.connect` takes it.
    """

    name = "ray"

    def __init__(self, spec: Spec, stop: threading.Event, address: str | None = None) -> None:
        super().__init__(stop)
        self._timeout_s = spec.engine.client_timeout_s
        self._threads = spec.server.threads
        self._put: dict[int, tuple[np.ndarray, Any]] = {}
        self._pool = Pool(
            partial(cluster.connect, address),
            partial(cluster.workers_of, spec),
            partial(warm_up, spec.parts.task.slow_imports),
        )

    def dispatch(self, prepared: Prepared) -> Dispatch:  # noqa: D102
        try:
            while not self._pool.wait_connected(POLL_S):
                self._check()
            cluster.reclaim_signals()
            self._pool.keep(make_worker, ray.put(shared(prepared.worker)), prepared.spec.device)
            while not self._pool.size:
                self._check()
                self.stop.wait(POLL_S / 5)
        except NoWorkersError as error:
            raise UserError(f"engine: {error}") from None
        return partial(self._ask, prepared.server.guard.max_reply_bytes(prepared.server.layout))

    def measure(self, prepared: Prepared) -> Measure:  # noqa: D102
        return ShardedMeasure(self._pool, prepared.server, self._threads, self._shared, self._check)

    def spread(self, *work: Any) -> list[Any]:  # noqa: D102
        return done_on(self._pool, self._threads, self._check, *work)

    def take_losses(self) -> list[dict[str, Any]]:  # noqa: D102
        return [asdict(loss) for loss in self._pool.take_losses()]

    def close(self) -> None:  # noqa: D102
        self._pool.close()

    def __exit__(self, *_: object) -> None:
        self.close()
        self._pool.join()

    def _ask(self, most: int, instructions: Sequence[Instruction]) -> Iterator[ClientReply]:
        """Yields each client's reply as it arrives; its arrays are views of Ray's memory, gone with the reply."""
        self._pool.grow()
        self._forget({_place(instruction.parameters) for instruction in instructions})
        parameters = [self._shared(instruction.parameters) for instruction in instructions]
        waiting = deque(zip((replace(one, parameters={}) for one in instructions), parameters, strict=True))
        under_way: dict[Future, int] = {}
        ended: SimpleQueue[Future] = SimpleQueue()
        while waiting or under_way:
            while waiting and len(under_way) < self._pool.size + AHEAD:
                one, start = waiting.popleft()
                future = self._pool.submit(
                    fit, one, start, client=one.client_id, timeout_s=self._timeout_s, most_bytes=most
                )
                under_way[future] = one.client_id
                future.add_done_callback(ended.put)
            future = self._next(ended, instructions[0].round)
            yield reply_of(future, under_way.pop(future))
            del future  # and with it the arrays

    def _shared(self, parameters: Mapping[str, np.ndarray]) -> Any:
        """Returns a reference to ``parameters``; a vector that is evaluated and then trained from is put once."""
        place = _place(parameters)
        if place not in self._put:
            # What is kept holds the memory, so that no other vector can lie at the same place.
            self._put[place] = next(iter(parameters.values())), ray.put(dict(parameters))
        return self._put[place][1]

    def _forget(self, places: Set[int]) -> None:
        """Lets go of all vectors but those that lie at ``places``."""
        self._put = {place: put for place, put in self._put.items() if place in places}

    def _next(self, ended: SimpleQueue[Future], number: int) -> Future:
        while True:
            try:
                self._check()
                return ended.get(timeout=POLL_S)
            except Empty:
                pass
            except NoWorkersError as error:
                raise RoundFailed(
                    f"round {number} failed: {error}; --resume goes on from the last one"
                ) from None

    def _check(self) -> None:
        if self.stop.is_set():
            raise Stopped
        self._pool.check()


def _place(parameters: Mapping[str, np.ndarray]) -> int:
    """Returns where the vector lies that ``parameters`` are views of."""
    return int(next(iter(parameters.values())).ctypes.data)


def reply_of(future: Future, client_id: int) -> ClientReply:
    """Returns a client's reply, or one that says why there is none."""
    try:
        return future.result()
    except WorkFailed as failure:
        return ClientReply(client_id, None, 0, error=str(failure))
