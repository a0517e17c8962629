"""What a run will cost, from parts of it that are played before it starts: minutes and peak memory."""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from statistics import mean

from hauberk.experiments.runner.probes import ClientCost, probe_carrying, probe_client, probe_server
from hauberk.experiments.runner.setup import Prepared, prepare
from hauberk.experiments.runner.twin import has_twin
from hauberk.experiments.spec.loader import Spec
from hauberk.server.server import attackers
from hauberk.tasks.errors import UserError

START_S = {"inline": 3.0, "ray": 8.0, "flower": 15.0}  # imports, Ray and its workers: measured on two cores
FINISH_S = 3.0  # what is looked at and drawn after the last round
MATRIX = 1.2  # memory for the rows and what a rule adds, in sizes of the matrix


@dataclass(frozen=True)
class Plan:
    """An estimate.

    Attributes:
        batch_s: seconds of one training batch.
        stages: seconds of a round by stage, as its record will say, and "checkpoint".
        minutes: the whole run, its attack-free twin included; not what repairs and detectors do after the last round.
        twin: whether there is one to be played.
        server_gb: peak memory of the server's process.
        worker_gb: of each worker process; 0 where clients run in the server's.
        workers: how many clients run at once.
        n_params: what a client sends.
    """

    batch_s: float
    stages: dict[str, float]
    minutes: float
    twin: bool
    server_gb: float
    worker_gb: float
    workers: int
    n_params: int

    @property
    def round_s(self) -> float:
        """Seconds of one round."""
        return sum(self.stages.values())

    def __str__(self) -> str:
        """Returns the estimate in three lines."""
        total = self.server_gb + self.workers * self.worker_gb
        parts = f"server {self.server_gb:.1f}" + (
            f", {self.workers} workers of {self.worker_gb:.1f}" if self.worker_gb else ""
        )
        stages = sorted(self.stages.items(), key=lambda stage: -stage[1])
        shown = ", ".join(
            f"{name} {seconds:.2g}" for name, seconds in stages if seconds > 0.01 * self.round_s
        )
        twin = ", half of it for the attack-free twin" if self.twin else ""
        return (
            f"about {self.minutes:.1f} minutes{twin}: {self.round_s:.1f} s a round, "
            f"{1e3 * self.batch_s:.0f} ms a batch, {self.workers} clients at once\na round: {shown} s\n"
            f"about {total:.1f} GB of memory at the peak: {parts}"
        )


def estimate(spec: Spec) -> Plan:
    """Loads the data, builds the model, plays parts of two rounds at the spec's size, and extrapolates.

    Raises:
        UserError: what would stop the run itself, for want of memory, too.
    """
    prepared = prepare(spec)
    prepared.check()
    model, cohort, workers = (
        4e-9 * len(prepared.start.parameters),
        spec.federation.cohort_size,
        n_workers(spec),
    )
    process, free = peak_gb(), available_gb()
    needed = MATRIX * cohort * model
    if needed > free:
        raise UserError(
            f"federation: {cohort} updates of {model:.2g} GB need {needed:.1f} GB, and {free:.1f} are free"
        )
    liars = attackers(prepared.server, 1)
    honest_id = next(
        (one for one in reversed(range(spec.federation.n_clients)) if one not in liars),
        spec.federation.n_clients - 1,
    )
    honest = probe_client(prepared, honest_id)
    lying = probe_client(prepared, liars[0]) if liars else honest
    stages = probe_server(prepared, honest.reply, lying.reply)
    stages["clients"] = clients_s(prepared, honest, lying, len(liars), workers, stages["clients"])
    rounds = spec.federation.rounds * (2 if has_twin(prepared) else 1)
    minutes = (START_S[spec.engine.name] + rounds * sum(stages.values()) + FINISH_S) / 60
    inline = spec.engine.name == "inline"
    server = max(peak_gb(), process + needed) + (0 if inline else 2 * workers * model)
    copies = 5 * model  # a worker also holds what came, what goes, gradients and moments
    worker = 0.0 if inline else process + copies
    return Plan(
        batch_s=honest.batch_s,
        stages=stages,
        minutes=minutes,
        twin=has_twin(prepared),
        server_gb=server,
        worker_gb=worker,
        workers=workers,
        n_params=len(prepared.start.parameters),
    )


def clients_s(
    prepared: Prepared, honest: ClientCost, lying: ClientCost, n_liars: int, workers: int, receiving_s: float
) -> float:
    """Returns the seconds of the clients' stage; ``receiving_s`` is what the server does meanwhile with all replies."""
    spec, training = prepared.spec, prepared.server.training
    held = mean(map(len, prepared.worker.partitions))
    costs = [one.seconds(held, training.batch_size, training.epochs) for one in (honest, lying)]
    share, cohort = n_liars / spec.federation.n_clients, spec.federation.cohort_size
    each = (1 - share) * costs[0] + share * costs[1]
    if spec.engine.name == "inline":
        return cohort * each + receiving_s
    crowding = max(1.0, workers * spec.engine.threads_per_client / cores())
    each = (each + probe_carrying(honest.reply)) * crowding
    return max(ceil(cohort / workers) * each, receiving_s) + probe_carrying(honest.reply)


def n_workers(spec: Spec) -> int:
    """Returns how many clients run at once."""
    return (
        1
        if spec.engine.name == "inline"
        else min(spec.engine.workers or cores(), spec.federation.cohort_size)
    )


def cores() -> int:
    """Returns how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_gb() -> float:
    """Returns the peak resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6)


def available_gb() -> float:
    """Returns how much memory is free on this machine; without end where that cannot be read."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return float("inf")
    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 / 1e9
