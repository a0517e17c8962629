"""Repairs of a finished run's model, after the fact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hauberk.experiments.analysis.export import write_model
from hauberk.experiments.engines.by_name import engine_of
from hauberk.experiments.runner.finished import Finished, read_finished
from hauberk.experiments.runner.signals import stoppable
from hauberk.experiments.spec.components import build, normalise, numbered
from hauberk.experiments.spec.overrides import changed
from hauberk.server.evaluation import ATTACK_METRICS
from hauberk.server.repairs import REPAIRS, Repair
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import load_state


def repair_run(
    console: Console,
    run: Path,
    names: Sequence[str],
    changes: Sequence[str],
    *,
    n_clean: int | None = None,
    out: Path | None = None,
) -> None:
    """Repairs the model of the finished run ``run`` and shows what it is worth before and after.

    Args:
        console: where to.
        run: the run's folder, which is left alone.
        names: repairs, in order.
        changes: ``name.key=value`` for those that have parameters.
        n_clean: how many of the server's clean examples they get; by default all.
        out: where to write the repaired model, as ``hauberk export`` does.

    Raises:
        UserError: there is no such run or repair, or it lacks what it works on.
    """
    steps = repairs_of(names, changes)
    finished = read_finished(run)
    before = finished.metrics(finished.parameters)
    with console.status(f"repairs: {', '.join(steps)}"), with_workers(finished, steps) as finished:
        parameters, reports = finished.repaired(steps, n_clean=n_clean)
    after = finished.metrics(parameters)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("", "before", "after"):
        table.add_column(heading, justify="right" if heading else "left")
    for metric in (*finished.prepared.task.metrics, *ATTACK_METRICS):
        was, now = before[metric.name], after[metric.name]
        if was is not None:
            table.add_row(metric.label, metric.text(was), metric.text(now))
    n_changed = int((parameters != finished.parameters).sum())
    table.add_row("changed parameters", "", f"{n_changed:,} of {len(parameters):,}")
    console.print(table, highlight=False)
    for name, report in reports.items():
        console.print(f"{name}: {', '.join(f'{k} {_short(v)}' for k, v in report.items())}", highlight=False)
    if out is not None:
        model = finished.prepared.server.model
        load_state(model, parameters)
        console.print(write_model(finished.spec, finished.prepared.labels, model, out), highlight=False)


@contextmanager
def with_workers(run: Finished, steps: Mapping[str, Repair]) -> Iterator[Finished]:
    """Yields ``run`` with the workers of its engine to share what ``steps`` have to do; as it is where none help."""
    if run.spec.engine.name != "ray" or not any(step.in_pieces for step in steps.values()):
        yield run
        return
    with stoppable() as stop, engine_of(run.spec, stop) as engine:
        engine.dispatch(run.prepared)
        yield replace(run, prepared=run.prepared.spread_by(engine.spread))


def repairs_of(names: Sequence[str], changes: Sequence[str]) -> dict[str, Repair]:
    """Returns the repairs by name, in order, with the parameters that ``changes`` give them.

    Raises:
        UserError: a name or a parameter is unknown or impossible.
    """
    settings = changed({name: {"name": name} for name in names}, changes, "repairs")
    try:
        components = [normalise(settings[name], REPAIRS) for name in names]
    except ValueError as error:
        raise UserError("\n".join(f"repairs.{line}" for line in str(error).splitlines())) from None
    return numbered((component["name"], build(component, REPAIRS)) for component in components)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}:{_short(item)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{len(value)} items" if isinstance(value, list) else str(value)
