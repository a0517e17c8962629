"""A grid: one experiment file whose ``[grid]`` lists values for some of its keys; every combination is a cell.

extends = "sst2"                                     # a preset, or the path of another file
[grid]
"aggregator.name" = ["fedavg", "dim_krum"]
seed = [0, 1, 2]
attack = [{ title = "none" }, { title = "bad word", poison = { name = "bad_word", target = 1 } }]
variant = [{ title = "plain" }, { title = "sam", training = { plugins = ["sam"] } }]   # several keys at once
[[exclude]]
"aggregator.name" = "dim_krum"
seed = 2
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hauberk.experiments.spec import loader
from hauberk.experiments.spec.mistakes import SpecError, printable

TITLE = "title"  # no component has an option of this name, and a data set of files has a "label"
NO_ATTACK = "none"
MOST_CELLS = 100_000
VARIANT = "variant"  # the grid's key whose tables are each put over the whole spec


@dataclass(frozen=True)
class Cell:
    """One combination of the grid's values.

    Attributes:
        tables: the spec's nested tables.
        values: the label of each of the grid's keys, in the grid's order.
    """

    tables: dict[str, Any]
    values: dict[str, str]

    @property
    def name(self) -> str:
        """The cell in one line."""
        return ", ".join(f"{key}={value}" for key, value in self.values.items()) or "the one cell"


@dataclass(frozen=True)
class Grid:
    """A grid as its file has it.

    Attributes:
        name: of the benchmark.
        base: the spec that all cells share, as nested tables.
        axes: the values of each key that varies.
        exclude: combinations that are left out, as labels by key.
        about: what the report says under its title.
    """

    name: str
    base: dict[str, Any]
    axes: dict[str, list[Any]]
    exclude: tuple[dict[str, str], ...] = ()
    about: str = ""

    def cells(self) -> list[Cell]:
        """Returns the cells in the grid's order.

        Raises:
            SpecError: nothing is left, there are too many, a key leads nowhere, or two cells are the same.
        """
        if (n := math.prod(map(len, self.axes.values()))) > MOST_CELLS:
            raise SpecError(f"grid: must have at most {MOST_CELLS} combinations, got {n}")
        found = [cell for cell in self._combinations() if not self._excluded(cell)]
        if not found:
            raise SpecError("grid: no cell is left, every combination is excluded")
        seen: dict[str, Cell] = {}
        for cell in found:
            key = json.dumps(cell.tables, sort_keys=True, default=str)
            if key in seen:
                raise SpecError(f"grid: two cells are the same, {seen[key].name} and {cell.name}")
            seen[key] = cell
        return found

    def _combinations(self) -> Iterator[Cell]:
        for values in itertools.product(*self.axes.values()):
            tables = deepcopy(self.base)
            for key, value in zip(self.axes, values, strict=True):
                _put(tables, key, value)
            yield Cell(tables, {key: label_of(value) for key, value in zip(self.axes, values, strict=True)})

    def _excluded(self, cell: Cell) -> bool:
        return any(all(cell.values[key] == value for key, value in one.items()) for one in self.exclude)


def check_cells(cells: Sequence[Cell]) -> list[loader.Spec]:
    """Returns each cell's spec.

    Raises:
        SpecError: all mistakes of all cells, each once, with the first cell that has it.
    """
    specs: list[loader.Spec] = []
    wrong: dict[str, str] = {}
    for cell in cells:
        try:
            specs.append(loader.parse(cell.tables))
        except SpecError as error:
            for line in str(error).splitlines():
                wrong.setdefault(line, cell.name)
    if wrong:
        raise SpecError("\n".join(f"{line} (cell {name})" for line, name in wrong.items()))
    return specs


def label_of(value: Any) -> str:
    """Returns how a value of the grid is called: its own title, its name, or itself; one line that can be printed."""
    return printable(_label(value))


def _label(value: Any) -> str:
    if isinstance(value, Mapping):
        if TITLE in value:
            return str(value[TITLE])
        parts = [part for part in value.values() if isinstance(part, Mapping) and "name" in part]
        return str(value.get("name") or "+".join(str(part["name"]) for part in parts) or dict(value))
    if isinstance(value, list):
        return "+".join(map(_label, value)) or NO_ATTACK
    return str(value)


def _put(tables: dict[str, Any], key: str, value: Any) -> None:
    """Puts a grid's value at its dotted key; a table with a title alone takes the key away."""
    if key == VARIANT:
        tables.update(merged(tables, {name: part for name, part in value.items() if name != TITLE}))
        return
    *path, last = key.split(".")
    below = tables
    for part in path:
        nested = below.get(part) or {}
        if not isinstance(nested, str | Mapping):
            raise SpecError(f"grid.{key}: {part!r} must be a table to have keys, got {nested!r}")
        below[part] = {"name": nested} if isinstance(nested, str) else dict(nested)
        below = below[part]
    if isinstance(value, Mapping):
        value = {name: part for name, part in value.items() if name != TITLE}
        if not value:
            below.pop(last, None)
            return
    below[last] = deepcopy(value)


def merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Returns tables with those ``above`` put over them, key by key; another name takes the whole table's place."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and _same_component(old, value):
            value = merged(dict(old), value)
        result[key] = value
    return result


def _same_component(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return new.get("name", old.get("name")) == old.get("name")
