"""A benchmark's folder: ``grid.json`` says which cells there are, each of which is an ordinary run's folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hauberk.experiments.bench.grid import Cell, Grid
from hauberk.experiments.runner.records import SUMMARY, read_summary, read_text
from hauberk.experiments.runner.twin import twin_spec
from hauberk.experiments.spec.loader import Spec
from hauberk.server.checkpoint import write_whole
from hauberk.tasks.errors import UserError

Status = Literal["finished", "failed", "missing"]
GRID = "grid.json"
CELLS = "cells"
FAILURES = "failures"


@dataclass(frozen=True)
class BenchCell:
    """A cell with a place in the benchmark's folder.

    Attributes:
        id: names its folder: a digest of what it computes.
        values: the label of each of the grid's keys.
        tables: its spec, resolved.
        attacked: whether anybody lies in it; one in which nobody does is the twin of those in which somebody does.
        twin: the spec's hash of its twin: the same for a cell and the one in which nobody lies.
    """

    id: str
    values: dict[str, str]
    tables: dict[str, Any]
    attacked: bool
    twin: str

    @property
    def name(self) -> str:
        """The cell in one line."""
        return ", ".join(f"{key}={value}" for key, value in self.values.items())


@dataclass(frozen=True)
class Results:
    """The folder of one benchmark."""

    path: Path
    name: str
    cells: tuple[BenchCell, ...]
    about: str = ""
    command: str = ""

    def folder(self, cell: BenchCell) -> Path:
        """Returns the run's folder of a cell."""
        return self.path / CELLS / cell.id

    def status(self, cell: BenchCell) -> Status:
        """Returns what has become of a cell so far."""
        return self.outcome(cell)[0]

    def outcome(self, cell: BenchCell) -> tuple[Status, str, dict[str, Any]]:
        """Returns a cell's status, why it failed, and its summary; a damaged one is that of a failed cell."""
        summary, failure = self.folder(cell) / SUMMARY, self._failure(cell)
        try:
            if summary.exists():
                return "finished", "", read_summary(summary)
            if failure.exists():
                return "failed", _reason(failure), {}
        except UserError as error:
            return "failed", str(error), {}
        return "missing", "", {}

    def fail(self, cell: BenchCell, reason: str) -> None:
        """Writes down why a cell failed."""
        self._failure(cell).parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._failure(cell), (json.dumps({"cell": cell.name, "reason": reason}) + "\n").encode())

    def forget_failure(self, cell: BenchCell) -> None:
        """Lets a failed cell be tried again."""
        self._failure(cell).unlink(missing_ok=True)

    def _failure(self, cell: BenchCell) -> Path:
        return self.path / FAILURES / f"{cell.id}.json"


def _reason(failure: Path) -> str:
    try:
        return str(json.loads(read_text(failure))["reason"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{failure}: damaged") from None


def open_results(
    path: Path, grid: Grid, cells: Sequence[Cell], specs: Sequence[Spec], *, resume: bool, command: str = ""
) -> Results:
    """Returns the folder of ``grid``, made where it is not there yet; ``command`` is what the report says made it.

    Raises:
        UserError: it holds cells that are not of this grid, or this grid, begun, without ``resume``; or it cannot be
            written.
    """
    wanted = Results(path, grid.name, tuple(map(_placed, cells, specs)), grid.about, command)
    if (path / GRID).exists():
        _check_same(read_results(path), wanted, resume=resume)
    elif path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: --out must be a benchmark's folder or empty; this holds other files")
    content = {name: value for name, value in asdict(wanted).items() if name != "path"}
    try:
        (path / CELLS).mkdir(parents=True, exist_ok=True)
        write_whole(path / GRID, (json.dumps(content, indent=1) + "\n").encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from None
    return wanted


def _check_same(held: Results, wanted: Results, *, resume: bool) -> None:
    """Refuses a folder whose cells are not all among those that are wanted; a grid that has grown goes on in it."""
    lacking = len({one.id for one in held.cells} - {one.id for one in wanted.cells})
    if lacking:
        raise UserError(
            f"{held.path}: holds another grid, of {len(held.cells)} cells of which {lacking} are not among these "
            f"{len(wanted.cells)}; choose another --out"
        )
    if not resume:
        done = sum(held.status(one) == "finished" for one in held.cells)
        raise UserError(
            f"{held.path}: holds this grid, {done} of {len(held.cells)} cells finished; --resume goes on"
        )


def read_results(path: str | Path) -> Results:
    """Returns the benchmark in the folder ``path``; raises UserError where there is none."""
    path = Path(path)
    if not (path / GRID).exists():
        raise UserError(f"{path}: holds no benchmark (no {GRID})")
    text = read_text(path / GRID)
    try:
        about = json.loads(text)
        return Results(**{**about, "path": path, "cells": tuple(BenchCell(**one) for one in about["cells"])})
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path / GRID}: damaged: {type(error).__name__}: {error}") from None


def _placed(cell: Cell, spec: Spec) -> BenchCell:
    tables = spec.to_dict()
    digest = hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()
    attacked = bool(spec.attack and spec.federation.n_malicious)
    return BenchCell(digest[:12], cell.values, tables, attacked, twin_spec(spec).hash)
