"""A grid: one experiment file whose ``[grid]`` lists values for some of its keys; every combination is a cell.

extends = "sst2"                                     # a preset, or the path of another file
[grid]
"aggregator.name" = ["fedavg", "dim_krum"]
seed = [0, 1, 2]
attack = [{ title = "none" }, { title = "bad word", poison = { name = "bad_word", target = 1 } }]
[[exclude]]
"aggregator.name" = "dim_krum"
seed = 2
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hauberk.experiments.spec import loader
from hauberk.experiments.spec.mistakes import SpecError
from hauberk.experiments.spec.overrides import assign
from hauberk.tasks.errors import nearest

TITLE = "title"  # no component has an option of this name, and a data set of files has a "label"
NO_ATTACK = "none"
CONFIGS = Path(__file__).parents[1] / "configs"
GRIDS = CONFIGS / "grids"  # what ships; `hauberk bench poisoning` plays one by its name


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
            SpecError: nothing is left, or two cells are the same.
        """
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


def read_grid(path: str | Path, changes: Sequence[str] = ()) -> Grid:
    """Returns the grid in a TOML file, or the shipped one of that name.

    Args:
        path: the file or the name.
        changes: ``a.b=value`` for the spec that all cells share.

    Raises:
        SpecError: the file is missing or no TOML, or its grid is impossible; the cells' own mistakes come later.
    """
    tables = _extended(_found(path), ())
    axes, exclude, about = tables.pop("grid", None), tables.pop("exclude", []), tables.pop("about", "")
    if not isinstance(axes, Mapping) or not axes:
        raise SpecError(f"{path}: [grid]: must list values for at least one key, got {axes!r}")
    for change in changes:
        assign(tables, change)
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            raise SpecError(f"{path}: grid.{key}: must be a list of at least one value, got {values!r}")
        _distinct(path, key, [label_of(value) for value in values])
    axes = _with_no_attack({key: list(values) for key, values in axes.items()})
    name = str(tables.get("name", Path(path).stem))
    return Grid(name, tables, axes, tuple(_excludes(path, exclude, axes)), " ".join(str(about).split()))


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
    """Returns how a value of the grid is called: its own title, its name, or itself."""
    if isinstance(value, Mapping):
        if TITLE in value:
            return str(value[TITLE])
        parts = [part for part in value.values() if isinstance(part, Mapping) and "name" in part]
        return str(value.get("name") or "+".join(str(part["name"]) for part in parts) or dict(value))
    if isinstance(value, list):
        return "+".join(map(label_of, value)) or NO_ATTACK
    return str(value)


def _put(tables: dict[str, Any], key: str, value: Any) -> None:
    """Puts a grid's value at its dotted key; a table with a title alone takes the key away."""
    *path, last = key.split(".")
    below = tables
    for part in path:
        nested = below.get(part)
        below[part] = {"name": nested} if isinstance(nested, str) else dict(nested or {})
        below = below[part]
    if isinstance(value, Mapping):
        value = {name: part for name, part in value.items() if name != TITLE}
        if not value:
            below.pop(last, None)
            return
    below[last] = deepcopy(value)


def _with_no_attack(axes: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Returns the axes with a cell in which nobody lies: what a rule costs there is half of what it is worth."""
    attacks = axes.get("attack")
    if attacks is None or NO_ATTACK in map(label_of, attacks):
        return axes
    return {**axes, "attack": [{TITLE: NO_ATTACK}, *attacks]}


def _excludes(path: str | Path, raw: Any, axes: Mapping[str, list[Any]]) -> Iterator[dict[str, str]]:
    if not isinstance(raw, list) or not all(isinstance(one, Mapping) and one for one in raw):
        raise SpecError(f"{path}: exclude: must be tables [[exclude]] of keys of the grid, got {raw!r}")
    for one in raw:
        for key, value in one.items():
            if key not in axes:
                raise SpecError(f"{path}: exclude.{key}: no key of the grid; {nearest(key, axes)}")
            label, known = label_of(value), [label_of(each) for each in axes[key]]
            if label not in known:
                raise SpecError(
                    f"{path}: exclude.{key}: no value of the grid, got {label!r}; {nearest(label, known)}"
                )
        yield {key: label_of(value) for key, value in one.items()}


def _distinct(path: str | Path, key: str, labels: list[str]) -> None:
    twice = next((label for label in labels if labels.count(label) > 1), None)
    if twice is not None:
        raise SpecError(
            f"{path}: grid.{key}: {twice!r} comes {labels.count(twice)} times; give each table a title"
        )


def _found(path: str | Path) -> Path:
    """Returns the file that ``path`` names, or the shipped grid of that name."""
    shipped = GRIDS / f"{path}.toml"
    return shipped if not Path(path).exists() and shipped.exists() else Path(path)


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Returns the tables of a file over those that it extends."""
    if path.resolve() in seen:
        raise SpecError(f"{path}: extends itself")
    tables = loader.read_tables(path)
    base = tables.pop("extends", None)
    if base is None:
        return tables
    where = path.parent / str(base)
    if not where.is_file():
        presets = {preset.stem: preset for folder in (CONFIGS, GRIDS) for preset in folder.glob("*.toml")}
        if base not in presets:
            raise SpecError(f"{path}: extends: no file and no preset {base!r}; {nearest(str(base), presets)}")
        where = presets[base]
    return _merged(_extended(where, (*seen, path.resolve())), tables)


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Returns tables with those ``above`` put over them, key by key; another name takes the whole table's place."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and _same_component(old, value):
            value = _merged(dict(old), value)
        result[key] = value
    return result


def _same_component(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return new.get("name", old.get("name")) == old.get("name")
