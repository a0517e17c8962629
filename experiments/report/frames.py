"""The two frames that a report is made from: a row for each cell of the grid, and a row for each round of each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from hauberk.experiments.report.metrics import ABOVE_NATURAL
from hauberk.server.evaluation import ATTACK_METRICS, NATURAL
from hauberk.tasks.base import Metric
from hauberk.tasks.errors import UserError

NO_ATTACK = "none"
NOBODY_LIES = "nobody lies"
FINISHED, FAILED, MISSING = STATUSES = ("finished", "failed", "missing")
SETTINGS = ("model", "dataset", "partition")
REQUIRED = ("cell", "rule", "attack", *SETTINGS, "seed", "needs", "status")
COSTS = ("wall_seconds", "peak_memory_mb", "bytes_sent", "bytes_received")
OPTIONAL = ("reason", "run_dir", "command", *COSTS)
ROUND_COLUMNS = ("cell", "round")


@dataclass(frozen=True)
class Frames:
    """A benchmark's results, checked.

    Attributes:
        cells: a row a cell; `attack_success_above_natural` is added, and a cell without attack knows "nobody lies".
        rounds: a row a round of a cell, with the same addition.
        metrics: what rules are compared by, among the columns of ``cells``.
        facets: the columns beside rule, attack and seed in which cells differ.
        constants: the other settings, which all cells share.
    """

    cells: pd.DataFrame
    rounds: pd.DataFrame
    metrics: tuple[Metric, ...]
    facets: tuple[str, ...]
    constants: dict[str, str]

    @property
    def primary(self) -> Metric:
        """The first metric that has a value also where nobody lies."""
        return next(
            (one for one in self.metrics if not one.name.startswith("attack_success")), self.metrics[0]
        )

    @property
    def rules(self) -> list[str]:
        """The rules in the grid's order."""
        return list(dict.fromkeys(self.cells["rule"]))

    @property
    def attacks(self) -> list[str]:
        """The attacks in the grid's order, the one in which nobody lies first."""
        names = list(dict.fromkeys(self.cells["attack"]))
        return sorted(names, key=lambda name: name != NO_ATTACK)

    @property
    def settings(self) -> list[tuple[str, ...]]:
        """The combinations of the facets' values, in the grid's order; one empty tuple where nothing varies."""
        if not self.facets:
            return [()]
        return list(dict.fromkeys(self.cells[list(self.facets)].itertuples(index=False, name=None)))

    def at(self, setting: tuple[str, ...]) -> pd.DataFrame:
        """Returns the cells of one combination of the facets' values."""
        chosen = pd.Series(True, index=self.cells.index)
        for facet, value in zip(self.facets, setting, strict=True):
            chosen &= self.cells[facet] == value
        return self.cells[chosen]

    def describe(self, setting: tuple[str, ...]) -> str:
        """Returns a combination of the facets' values for readers."""
        return " · ".join(
            value if facet in SETTINGS else f"{facet} {value}"
            for facet, value in zip(self.facets, setting, strict=True)
        )


def read_frames(cells: pd.DataFrame, rounds: pd.DataFrame, metrics: Sequence[Metric]) -> Frames:
    """Returns the results, checked.

    Raises:
        UserError: no cells, a column is lacking, an unknown status, or two rows are the same cell.
    """
    _check(cells)
    cells = _completed(cells, metrics)
    varying, constants = _dimensions(cells)
    _check_distinct(cells, ["rule", "attack", *varying, "seed"])
    return Frames(cells, _read_rounds(rounds), tuple(metrics), tuple(varying), constants)


def _check(cells: pd.DataFrame) -> None:
    if lacking := [column for column in REQUIRED if column not in cells]:
        raise UserError(f"report: the frame of cells lacks {', '.join(lacking)}; it has {', '.join(cells)}")
    if cells.empty:
        raise UserError("report: there are no cells; a grid has at least one")
    if odd := sorted(set(cells["status"].astype(str)) - set(STATUSES)):
        raise UserError(f"report: status: must be one of {', '.join(STATUSES)}, got {', '.join(odd)}")


def _check_distinct(cells: pd.DataFrame, keys: list[str]) -> None:
    twice = cells[cells.duplicated(keys)]
    if len(twice):
        name = ", ".join(f"{key}={value}" for key, value in twice.iloc[0][keys].items())
        raise UserError(
            f"report: two rows are the same cell ({name}); what differs must be a column of its own"
        )


def _completed(cells: pd.DataFrame, metrics: Sequence[Metric]) -> pd.DataFrame:
    cells = _with_above_natural(cells.reset_index(drop=True))
    for name in ("rule", "attack", "needs", *_settings(cells)):
        cells[name] = ["-" if pd.isna(value) else str(value) for value in cells[name]]
    cells["knowledge"] = _knowledge(cells)
    for name in ("reason", "run_dir", "command"):
        cells[name] = cells[name].fillna("").astype(str) if name in cells else ""
    for name in (*COSTS, *(metric.name for metric in metrics)):
        cells[name] = cells[name].astype(float) if name in cells else float("nan")
    return cells


def _knowledge(cells: pd.DataFrame) -> pd.Series:
    """Returns what each cell's attacker knows; one that has not finished may not say, others of its attack do."""
    known = cells["knowledge"] if "knowledge" in cells else pd.Series(None, index=cells.index, dtype=object)
    known = known.astype(object).where(known.notna(), None)
    by_attack = known.groupby(cells["attack"]).agg(lambda each: next(iter(each.dropna()), "not known"))
    known = known.fillna(cells["attack"].map(by_attack))
    return known.mask(cells["attack"] == NO_ATTACK, NOBODY_LIES).astype(str)


def _read_rounds(rounds: pd.DataFrame) -> pd.DataFrame:
    if not set(ROUND_COLUMNS) <= set(rounds.columns):
        return pd.DataFrame(columns=list(ROUND_COLUMNS))
    return _with_above_natural(rounds.reset_index(drop=True)).sort_values(["cell", "round"])


def _with_above_natural(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds the attack success above natural where its two parts are there and it is not."""
    frame = frame.copy()
    parts = (ATTACK_METRICS[0].name, NATURAL)
    if ABOVE_NATURAL.name not in frame and set(parts) <= set(frame.columns):
        frame[ABOVE_NATURAL.name] = frame[parts[0]].astype(float) - frame[parts[1]].astype(float)
    return frame


def _settings(cells: pd.DataFrame) -> list[str]:
    """The columns that can tell settings apart: the usual three, and the grid's other keys, which are dotted."""
    return [*SETTINGS, *(column for column in cells if "." in column)]


def _dimensions(cells: pd.DataFrame) -> tuple[list[str], dict[str, str]]:
    """Returns the settings that vary, and the value of each that does not.

    A key of the grid that another one decides tells nothing apart: the model's name beside the model, or an option
    that one rule alone takes.
    """
    varying: list[str] = []
    constants: dict[str, str] = {}
    for column in _settings(cells):
        if cells[column].nunique() == 1:
            constants[column] = cells[column].iloc[0]
        elif column in SETTINGS or not any(
            _decides(cells, other, column) for other in ("rule", "attack", *varying)
        ):
            varying.append(column)
    return varying, constants


def _decides(cells: pd.DataFrame, first: str, second: str) -> bool:
    """Whether cells that agree in the first column always agree in the second."""
    return bool((cells.groupby(first)[second].nunique() == 1).all())
