"""What a grid will cost, from one-batch probes of each kind of cell: hours, memory and disk, and whether they fit."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from hauberk.experiments.bench.command import default_out
from hauberk.experiments.bench.grid import check_cells
from hauberk.experiments.bench.grid_file import read_grid
from hauberk.experiments.engines.cluster import default_workers
from hauberk.experiments.runner.plan import Plan, estimate
from hauberk.experiments.runner.twin import MAX_BYTES, twin_spec
from hauberk.experiments.spec.loader import Spec
from hauberk.strategies import AggregationContext
from hauberk.tasks.errors import UserError

FIXED_S = 1.0  # of a cell on a warm worker
CHECKPOINTS = 2  # that a run keeps
LARGEST_PROBE = 5e8  # numbers in a matrix of random rows; beyond it a rule's time is left out


@dataclass(frozen=True)
class GridPlan:
    """An estimate of a whole grid.

    Attributes:
        name: of the benchmark.
        seconds: of each cell on one worker.
        n_honest: how many cells nobody lies in.
        workers: how many cells at once.
        worker_gb: peak memory of one.
        disk_gb: of all folders together.
    """

    name: str
    seconds: tuple[float, ...]
    n_honest: int
    workers: int
    worker_gb: float
    disk_gb: float

    @property
    def hours(self) -> float:
        """Until the last cell ends."""
        return sum(self.seconds) / self.workers / 3600

    def __str__(self) -> str:
        """Returns the estimate in three lines."""
        return (
            f"{self.name}: {len(self.seconds)} cells, in {self.n_honest} of which nobody lies\n"
            f"about {_time(self.hours)} with {self.workers} at once: "
            f"{min(self.seconds):.0f} to {max(self.seconds):.0f} s a cell\n"
            f"about {self.worker_gb:.1f} GB of memory a worker, and {self.disk_gb:.1f} GB of disk"
        )

    def check(self, memory_gb: float, free_disk_gb: float) -> None:
        """Refuses what does not fit, and says what would.

        Raises:
            UserError: so many workers need more than ``memory_gb``, or the folders more than ``free_disk_gb``.
        """
        wrong = []
        if (need := self.workers * self.worker_gb) > memory_gb:
            fits = int(memory_gb / self.worker_gb)
            advice = f"--workers {fits} fits" if fits else "not even one fits"
            wrong.append(
                f"{self.workers} workers of {self.worker_gb:.1f} GB need {need:.1f} GB of memory, "
                f"{memory_gb:.1f} are free; {advice}"
            )
        if self.disk_gb > free_disk_gb:
            share = int(len(self.seconds) * free_disk_gb / self.disk_gb)
            wrong.append(
                f"{len(self.seconds)} cells need {self.disk_gb:.1f} GB of disk, {free_disk_gb:.1f} are free; "
                f"about {share} cells fit: --only takes a part of the grid"
            )
        if wrong:
            raise UserError("\n".join(wrong))


def _time(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"


def plan_grid(
    grid_file: Path, *, workers: int | None = None, changes: Sequence[str] = (), only: Sequence[str] = ()
) -> GridPlan:
    """Probes each kind of cell of a grid and returns what the whole will cost.

    Raises:
        UserError: what would stop the benchmark itself.
    """
    grid = read_grid(grid_file, changes, only)
    specs = check_cells(grid.cells())
    kinds = {_kind(spec): spec for spec in specs}
    plans = {kind: estimate(_inline(spec)) for kind, spec in kinds.items()}
    rules: dict[str, float] = {}
    seconds = tuple(_seconds(spec, plans[_kind(spec)], rules) for spec in specs)
    return GridPlan(
        name=grid.name,
        seconds=seconds,
        n_honest=sum(not _attacked(spec) for spec in specs),
        workers=workers or max(1, default_workers() // max(spec.engine.threads_per_client for spec in specs)),
        worker_gb=max(plan.server_gb + 5 * 4e-9 * plan.n_params for plan in plans.values()),
        disk_gb=_disk_gb(specs, plans),
    )


def check_fits(plan: GridPlan, out: Path | None) -> None:
    """Refuses a plan that does not fit this machine; see `GridPlan.check`."""
    folder = default_out(plan.name, out).resolve()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    plan.check(psutil.virtual_memory().available / 1e9, shutil.disk_usage(there).free / 1e9)


def _kind(spec: Spec) -> str:
    """Returns what cells have in common that train and are evaluated equally fast."""
    tables = spec.to_dict()
    federation = {
        key: value for key, value in tables["federation"].items() if key not in ("rounds", "partition")
    }
    return json.dumps([tables["task"], tables["training"], federation, _attacked(spec)], sort_keys=True)


def _attacked(spec: Spec) -> bool:
    return bool(spec.attack and spec.federation.n_malicious)


def _inline(spec: Spec) -> Spec:
    return spec.model_copy(update={"engine": spec.engine.model_copy(update={"name": "inline"})})


def _seconds(spec: Spec, plan: Plan, rules: dict[str, float]) -> float:
    """Returns the seconds of a cell; ``rules`` keeps what each rule took on random rows of that size."""
    key = json.dumps([spec.to_dict()["aggregator"], plan.n_params, spec.federation.cohort_size])
    if key not in rules:
        rules[key] = probe_rule(spec, plan.n_params)
    return FIXED_S + spec.federation.rounds * (plan.round_s + rules[key])


def probe_rule(spec: Spec, n_params: int) -> float:
    """Returns the seconds of one aggregation of random rows; 0 where they are too many or the rule wants more."""
    n_clients = spec.federation.cohort_size
    if n_clients * n_params > LARGEST_PROBE:
        return 0.0
    rows = 1e-3 * torch.randn(n_clients, n_params, generator=torch.Generator().manual_seed(0))
    started = time.perf_counter()
    try:
        spec.parts.aggregator(rows, context=AggregationContext(parameters=torch.zeros(n_params), round=1))
    except Exception:  # such as a rule that looks at the model's outputs: an estimate goes without it
        return 0.0
    return time.perf_counter() - started


def _disk_gb(specs: Sequence[Spec], plans: dict[str, Plan]) -> float:
    """Returns the size of all checkpoints, and of the models that each twin keeps."""
    sizes = [4 * plans[_kind(spec)].n_params for spec in specs]
    twins = {
        twin_spec(spec).hash: min(MAX_BYTES, spec.federation.rounds * size)
        for spec, size in zip(specs, sizes, strict=True)
    }
    return (CHECKPOINTS * sum(sizes) + sum(twins.values())) / 1e9
