"""Tables on the terminal: a run's summary, runs side by side, and the names that a spec can use."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hauberk.experiments.report.metrics import columns_of, metrics_of, rows_of
from hauberk.experiments.report.plots import Panel, draw_panels
from hauberk.experiments.runner.records import read_rounds, read_run
from hauberk.tasks.base import Task
from hauberk.tasks.errors import UserError

HEADINGS = {  # where a label is too long for a column
    "attack_success_rate": "attack",
    "attack_success_floor": "floor",
    "attack_success_natural": "natural",
}


def show_summary(console: Console, summary: Mapping[str, Any], folder: Path) -> None:
    """Shows what a finished run came to."""
    table = Table(box=None, pad_edge=False, show_header=False)
    before = summary.get("before_repairs", {}).get("final")
    for metric, value in rows_of(summary):
        was = f"  (before the repairs {metric.text(before[metric.name])})" if before else ""
        table.add_row(metric.label, f"[bold]{metric.text(value)}[/]{was}")
    for name, report in summary.get("detectors", {}).items():
        table.add_row(name, f"AUROC {_figure(report['auroc'])}")
    table.add_row("model", summary["model_sha256"][:16])
    table.add_row("rounds", f"{summary['rounds']} in {summary['seconds']:.0f} s")
    table.add_row("records", str(folder))
    console.print(table, highlight=False)


def show_runs(console: Console, folders: Sequence[Path], plot: Path | None) -> None:
    """Shows finished runs side by side, and draws them where ``plot`` says."""
    runs = {str(folder): read_run(folder) for folder in folders}
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("run", "rule", "attack"):
        table.add_column(heading, overflow="fold")
    metrics = columns_of(summary for _, summary in runs.values())
    for heading in (*(HEADINGS.get(metric.name, metric.label) for metric in metrics), "s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for folder, (_, summary) in runs.items():
        figures = [metric.text(summary["final"].get(metric.name)) for metric in metrics]
        attack = summary["attack"] or "none"
        table.add_row(folder, summary["aggregator"], attack, *figures, f"{summary['seconds']:.0f}")
    console.print(table, highlight=False)
    if plot:
        panels = [
            Panel(f"{done['name']}: {done['aggregator']}", read_rounds(folder), metrics_of(done)[0])
            for folder, (_, done) in runs.items()
        ]
        draw_panels(plot, panels)
        console.print(f"plot: {plot}", highlight=False)


def catalogue(kind: str | None) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns kind -> name -> parameter -> default (``"required"`` where there is none).

    Raises:
        UserError: no such kind.
    """
    from hauberk.attacks import FORGES, POISONS, TAMPERS
    from hauberk.clients.plugins import PLUGINS
    from hauberk.experiments.spec.registry import aggregators
    from hauberk.experiments.spec.task_section import settings_of
    from hauberk.server.detectors import DETECTORS
    from hauberk.server.repairs import REPAIRS
    from hauberk.strategies import PRE_AGGREGATORS
    from hauberk.tasks import TASKS
    from hauberk.tasks.errors import nearest
    from hauberk.tasks.partition import PARTITIONS

    rules, broken = aggregators().usable()
    shared = {f"{name} (tamper)": TAMPERS[name] for name in sorted(POISONS.keys() & TAMPERS)}
    tables: dict[str, Mapping[str, type]] = {
        "aggregators": {**rules, **PRE_AGGREGATORS},
        "attacks": {**TAMPERS, **FORGES, **POISONS, **shared},
        "tasks": {name: settings_of(task) for name, task in TASKS.items()},
        **_components(TASKS),
        "partitions": PARTITIONS,
        "plugins": PLUGINS,
        "repairs": REPAIRS,
        "detectors": DETECTORS,
    }
    if kind is not None and kind not in tables:
        raise UserError(f"list: unknown kind {kind!r}; {nearest(kind, tables)}")
    found = {
        name: {entry: _defaults(cls) for entry, cls in table.items()}
        for name, table in tables.items()
        if kind in (None, name)
    }
    if "aggregators" in found:
        found["aggregators"] |= {name: {"cannot be used": reason} for name, reason in broken.items()}
    return found


def _components(tasks: Mapping[str, type[Task]]) -> dict[str, dict[str, type]]:
    """Returns what tasks can name, such as "datasets" and "models"; a name that comes again has its task beside it."""
    found: dict[str, dict[str, type]] = {}
    for task_name, task in tasks.items():
        for key, table in task.components.items():
            known = found.setdefault(f"{key}s", {})
            known |= {
                name if name not in known else f"{name} ({task_name})": cls for name, cls in table.items()
            }
    return found


def show_catalogue(console: Console, names: Mapping[str, Any], *, as_json: bool) -> None:
    """Shows the catalogue as a table or as JSON."""
    if as_json:
        console.print_json(json.dumps(names, default=str))
        return
    for kind, entries in names.items():
        table = Table(
            title=kind, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False
        )
        for name, parameters in entries.items():
            table.add_row(name, ", ".join(f"{key}={value!r}" for key, value in parameters.items()))
        console.print(table, highlight=False)


def _defaults(cls: type) -> dict[str, Any]:
    defaults = {}
    for field in dataclasses.fields(cls):
        if field.default is not dataclasses.MISSING:
            defaults[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory()
        else:
            defaults[field.name] = "required"
    return defaults


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
