"""Workers on a real Ray: what a machine does wrong is done again elsewhere, what work does wrong is its own."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import numpy as np
import pytest
import ray

from hauberk.experiments.engines import cluster, worker_slot
from hauberk.experiments.engines.cluster import Workers
from hauberk.experiments.engines.losses import KILLED, OUT_OF_MEMORY, given_up, reason_of
from hauberk.experiments.engines.pool import NoWorkersError, Pool, WorkFailed
from hauberk.experiments.engines.worker_slot import arrival
from hauberk.tasks.errors import UserError

pytestmark = [
    pytest.mark.xdist_group("processes"),  # one at a time: each starts several of its own
    pytest.mark.timeout(600),
]

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test


@pytest.fixture(scope="module")
def pool():
    """Two workers that keep the number 7."""
    pool = Pool(cluster.connect, lambda: Workers(2, 0.5))
    pool.keep(int, "7")
    early = pool.submit(process, timeout_s=5.0)  # which is counted from its own start, not from the workers'
    assert early.result(60) > 0
    held = [ray.put(number) for number in range(100)]
    yield pool
    pool.close()
    while held:  # Ray ends a process that drops a reference while it goes, so it goes when nobody does
        held.pop()
        time.sleep(0.02)
    pool.join()
    assert not ray.is_initialized()


@pytest.fixture(autouse=True)
def _no_losses(pool, monkeypatch):
    monkeypatch.setattr(worker_slot, "ANSWER_S", 60.0)  # a worker that is only slow counts as no loss
    pool.take_losses()


def process(kept):
    return os.getpid()


def add(kept, *arrays):
    return kept + sum(arrays)


def fail(kept):
    raise ValueError("no\nway")


def hang(kept):
    time.sleep(60)


def die(kept):
    os.kill(os.getpid(), signal.SIGKILL)


def starve(kept):
    raise MemoryError


def slow_at_first(kept, marker: str):
    """Says where it is and waits to be killed; the second time it returns."""
    if not Path(marker).exists():
        Path(marker).write_text(str(os.getpid()))
        time.sleep(60)
    return kept


def pid_in(marker: Path) -> int:
    wait_until(lambda: marker.exists() and marker.read_text())
    return int(marker.read_text())


def wait_until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not true after {seconds} s"
        time.sleep(0.02)


def refuse():
    raise OSError("no such model")


def test_work_gets_what_its_worker_keeps_and_what_references_stand_for(pool):
    shared = ray.put(np.ones(300_000, np.float32))
    result = pool.submit(add, shared, 2).result(60)
    assert result.shape == (300_000,)
    assert (result == 10).all()
    assert not result.flags.writeable  # it lies where the worker's process left it


def test_a_result_that_is_too_large_is_not_fetched(pool):
    assert pool.submit(add, most_bytes=1000).result(60) == 7
    with pytest.raises(WorkFailed, match=r"^its result is oversized: \d+ bytes, allowed are 1000$"):
        pool.submit(add, np.ones(300), most_bytes=1000).result(60)


def test_a_killed_worker_is_the_machines_fault_and_its_work_runs_again(pool, tmp_path, caplog):
    future = pool.submit(slow_at_first, str(tmp_path / "pid"), client=3, timeout_s=60)
    pid = pid_in(tmp_path / "pid")
    os.kill(pid, signal.SIGKILL)
    assert future.result(60) == 7
    (loss,) = pool.take_losses()
    assert (loss.client, loss.pid, loss.reason) == (3, pid, KILLED)
    assert loss.node == ray.util.get_node_ip_address()
    gc.collect()
    assert not [
        record for record in caplog.records if record.name == "asyncio"
    ]  # nor is a line of it left open


def test_work_that_loses_three_workers_is_given_up_with_the_reason(pool):
    with pytest.raises(
        WorkFailed, match=r"^its worker process was killed \(3 times\); .* set engine\.workers lower$"
    ):
        pool.submit(die, client=1).result(120)
    assert [(loss.client, loss.reason) for loss in pool.take_losses()] == [(1, KILLED)] * 3


def test_want_of_memory_is_the_machines_fault_too(pool):
    with pytest.raises(
        WorkFailed, match=r"^its worker ran out of memory \(3 times\); .* set engine\.workers lower$"
    ):
        pool.submit(starve).result(120)
    assert reason_of(ray.exceptions.OutOfMemoryError("95 % in use")) == OUT_OF_MEMORY


def test_what_work_raises_is_its_own_and_costs_no_worker(pool):
    wait_until(lambda: pool.size == 2)
    for _ in range(4):
        with pytest.raises(WorkFailed, match=r"^ValueError: no way$"):
            pool.submit(fail).result(60)
    assert pool.size == 2
    assert pool.take_losses() == []


def test_what_hangs_is_timed_out_while_the_others_go_on(pool):
    wait_until(lambda: pool.size == 2)
    hanging = pool.submit(hang, timeout_s=5.0)
    others = [pool.submit(add, number) for number in range(5)]
    assert [future.result(60) for future in others] == [7, 8, 9, 10, 11]
    assert not hanging.done()
    with pytest.raises(WorkFailed, match=r"^timed out after 5 s$"):
        hanging.result(60)
    assert pool.take_losses() == []


def test_a_worker_that_dies_idle_is_noticed_at_once_and_costs_no_work_a_try(pool):
    wait_until(lambda: pool.size == 2)
    pids = {pool.submit(process).result(60) for _ in range(4)}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    losses = []
    wait_until(lambda: losses.extend(pool.take_losses()) or len(losses) == len(pids), 30)
    assert {(loss.client, loss.reason, loss.idle) for loss in losses} == {(None, KILLED, True)}
    assert sorted(loss.pid for loss in losses) == sorted(pids)
    assert pool.submit(add, 1, client=2).result(60) == 8
    assert pool.take_losses() == []


def test_given_up_work_names_each_kind_of_loss():
    assert given_up(["its node was lost", KILLED, KILLED]) == (
        "its node was lost; its worker process was killed (2 times); "
        "where that is for want of memory, set engine.workers lower"
    )


def test_a_second_address_beside_an_open_session_is_refused(pool):
    assert cluster.connect() is False
    with pytest.raises(
        UserError, match=r"^address: this process has a Ray session already, got '10\.0\.0\.1:6379'"
    ):
        cluster.connect("10.0.0.1:6379")


def test_a_pool_whose_workers_cannot_start_says_why(pool):  # the last: no worker is left afterwards
    pool.keep(refuse)
    pool.submit(process)
    with pytest.raises(NoWorkersError, match=r"^no worker can start: OSError: no such model$"):
        wait_until_checked(pool)


def wait_until_checked(pool):
    for _ in range(600):
        pool.check()
        time.sleep(0.1)


@pytest.mark.parametrize("steps", range(5))
def test_whoever_waits_is_cancelled_also_at_the_moment_at_which_the_result_comes(steps):
    async def cancelled_after():
        result = Future()
        waiting = asyncio.ensure_future(arrival(SimpleNamespace(future=lambda: result), 60.0))
        await asyncio.sleep(0)
        result.set_result("there")
        for _ in range(steps):
            await asyncio.sleep(0)
        came = waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
        return came or waiting.cancelled()

    assert asyncio.run(cancelled_after())
