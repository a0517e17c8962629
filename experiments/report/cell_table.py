"""The table of all cells: its columns, and how each value is shown, sorted and linked."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hauberk.experiments.report.benchmark_report import BenchmarkReport
from hauberk.experiments.report.figures import figure, one_decimal
from hauberk.experiments.report.frames import COSTS, FINISHED, Frames
from hauberk.experiments.report.metrics import known_metrics
from hauberk.experiments.report.resources import MEGABYTE
from hauberk.tasks.base import Metric

COST_LABELS = {
    "wall_seconds": "s",
    "peak_memory_mb": "peak MB",
    "bytes_sent": "sent MB",
    "bytes_received": "received MB",
}
CHOICE, TEXT, NUMBER, HIDDEN = "choice", "text", "number", "hidden"


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        filter: how it is filtered: "choice" of its values, "text" or "number"; "hidden" where it is not shown at first.
    """

    name: str
    label: str
    filter: str = TEXT


@dataclass(frozen=True)
class Value:
    """A value as it is shown, with its link and its class; a number that is not there is "-", as DataTables expects."""

    text: str
    href: str = ""
    css: str = ""


@dataclass(frozen=True)
class CellTable:
    """The table: its columns, and a row a cell."""

    columns: list[Column]
    rows: list[list[Value]]


def cell_table(report: BenchmarkReport, page: Path) -> CellTable:
    """Returns the table of all cells for the file ``page``, from whose folder links start."""
    frames = report.frames
    metrics = known_metrics() | {metric.name: metric for metric in frames.metrics}
    columns = _columns(frames)

    def shown(name: str, value: Any) -> Value:
        if name in COSTS:
            return Value(_dash(value) or one_decimal(value / MEGABYTE if name.startswith("bytes") else value))
        if name in metrics or isinstance(value, float):
            return Value(_dash(value) or figure(value, metrics.get(name, Metric(name, name))))
        if name == "run_dir":
            return Value(str(value), href=_link(report.meta.root, str(value), page))
        marked = name == "reason" or (name == "status" and value != FINISHED)
        return Value(str(value), css=(value if name == "status" else name) if marked and value else "")

    names = [column.name for column in columns]
    rows = frames.cells[names].itertuples(index=False, name=None)
    return CellTable(columns, [[shown(*pair) for pair in zip(names, row, strict=True)] for row in rows])


def _columns(frames: Frames) -> list[Column]:
    costs = [name for name in COSTS if frames.cells[name].notna().any()]
    compared = {metric.name for metric in frames.metrics}
    return [
        *(Column(name, name, CHOICE) for name in ("rule", "attack", *frames.facets, "seed")),
        Column("knowledge", "attacker knows", CHOICE),
        Column("needs", "server needs", CHOICE),
        Column("status", "status", CHOICE),
        *(Column(one.name, one.label + (", %" if one.is_share else ""), NUMBER) for one in frames.metrics),
        *(Column(name, COST_LABELS[name], NUMBER) for name in costs),
        *([Column("reason", "reason", TEXT)] if frames.cells["reason"].any() else []),
        Column("run_dir", "folder"),
        *(_hidden(name) for name in _measured(frames.cells) if name not in (*compared, *COSTS)),
        Column("command", "command", HIDDEN),
    ]


def _hidden(name: str) -> Column:
    share = name in known_metrics() and known_metrics()[name].is_share
    return Column(name, name.replace("_", " ") + (", %" if share else ""), HIDDEN)


def _measured(cells: pd.DataFrame) -> list[str]:
    """The columns of what was measured, of which some cell has a value."""
    numbers = cells.drop(columns=[name for name in cells if "." in name]).select_dtypes("float")
    return [name for name in numbers if numbers[name].notna().any() and name != "seed"]


def _dash(value: float) -> str:
    return "-" if math.isnan(value) else ""


def _link(root: Path | None, run_dir: str, page: Path) -> str:
    if root is None or not run_dir:
        return ""
    return Path(os.path.relpath(root / run_dir, page.parent)).as_posix()
