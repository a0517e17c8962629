"""What a run will cost, from one batch: minutes and peak memory, before anything starts."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from statistics import mean

import numpy as np
import torch

from hauberk.clients.session import Session
from hauberk.experiments.runner.setup import Prepared, prepare
from hauberk.experiments.spec.loader import Spec
from hauberk.tasks.seeds import generator

START_S = {
    "inline": 4.0,
    "ray": 10.0,
}  # imports, Ray and its workers: measured on two cores, and of this order elsewhere
PROBED = 3  # batches timed; the first, slower one is left out


@dataclass(frozen=True)
class Plan:
    """An estimate.

    Attributes:
        batch_s: seconds of one training batch.
        round_s: seconds of one round, clients and evaluation.
        minutes: the whole run.
        server_gb: peak memory of the server's process.
        worker_gb: of each worker process; 0 where clients run in the server's.
        workers: how many clients run at once.
        n_params: of the model.
    """

    batch_s: float
    round_s: float
    minutes: float
    server_gb: float
    worker_gb: float
    workers: int
    n_params: int

    def __str__(self) -> str:
        """Returns the estimate in two lines."""
        total = self.server_gb + self.workers * self.worker_gb
        parts = f"server {self.server_gb:.1f}" + (
            f", {self.workers} workers of {self.worker_gb:.1f}" if self.worker_gb else ""
        )
        return (
            f"about {self.minutes:.1f} minutes: {self.round_s:.1f} s a round, {1e3 * self.batch_s:.0f} ms a batch, "
            f"{self.workers} clients at once\nabout {total:.1f} GB of memory at the peak: {parts}"
        )


def estimate(spec: Spec) -> Plan:
    """Loads the data, builds the model, trains and evaluates a few batches, and extrapolates.

    Raises:
        UserError: what would stop the run itself.
    """
    prepared = prepare(spec)
    prepared.check()
    batch_s, evaluation_s = probe_training(prepared), probe_evaluation(prepared)
    workers = n_workers(spec)
    cohort, training = spec.federation.cohort_size, spec.training
    batches = mean(ceil(len(rows) / training.batch_size) for rows in prepared.worker.partitions)
    round_s = training.epochs * batches * batch_s * ceil(cohort / workers) + evaluation_s
    minutes = (START_S[spec.engine.name] + spec.federation.rounds * round_s) / 60
    process, model = peak_gb(), 4e-9 * len(prepared.start.parameters)
    replies = 0 if spec.engine.name == "inline" else 2 * workers * model  # in flight, beside the matrix
    server = process + 1.2 * cohort * model + replies
    copies = 5 * model  # a worker also holds what came, what goes, gradients and moments
    return Plan(
        batch_s=batch_s,
        round_s=round_s,
        minutes=minutes,
        server_gb=server,
        worker_gb=0.0 if spec.engine.name == "inline" else process + copies,
        workers=workers,
        n_params=len(prepared.start.parameters),
    )


def probe_training(prepared: Prepared) -> float:
    """Returns the seconds of one training batch of an honest client, one thread setting as in the run."""
    worker, training = prepared.make_worker(), prepared.server.training
    rows = prepared.worker.partitions[-1][: PROBED * training.batch_size]
    data = prepared.worker.encoded.take(rows)
    session = Session(
        task=prepared.task,
        model=worker.model,
        data=data,
        training=training,
        rng=generator(0, "probe"),
        device=worker.config.device,
    )
    torch.set_num_threads(prepared.spec.engine.threads_per_client)
    return _seconds(session.train) / ceil(len(rows) / training.batch_size)


def probe_evaluation(prepared: Prepared) -> float:
    """Returns the seconds of one evaluation, clean and triggered."""
    evaluation = prepared.server.evaluate
    torch.set_num_threads(prepared.spec.server.threads)
    part = evaluation.clean.take(np.arange(min(256, len(evaluation.clean))))
    seconds = _seconds(
        lambda: prepared.task.predict(
            prepared.server.model, part, precision=evaluation.precision, device=evaluation.device
        )
    )
    n = len(evaluation.clean) + (len(evaluation.triggered) if evaluation.triggered is not None else 0)
    return seconds / len(part) * n


def n_workers(spec: Spec) -> int:
    """Returns how many clients run at once."""
    if spec.engine.name == "inline":
        return 1
    from hauberk.experiments.engines.cluster import default_workers

    return min(spec.engine.workers or default_workers(), spec.federation.cohort_size)


def peak_gb() -> float:
    """Returns the peak resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


def _seconds(work: Callable[[], object]) -> float:
    """Returns the seconds of the second of two calls: the first pays for warming up."""
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
