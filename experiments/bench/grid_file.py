"""How a grid is read from its file, which may extend another one or a preset."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hauberk.experiments.bench.grid import NO_ATTACK, TITLE, VARIANT, Grid, label_of, merged
from hauberk.experiments.spec import loader
from hauberk.experiments.spec.mistakes import SpecError, printable
from hauberk.experiments.spec.overrides import assign
from hauberk.tasks.errors import nearest

# `os.path` and not `Path` looks whether a file is there: a name that is too long, or odd, is no file and no exception.
CONFIGS = Path(__file__).parents[1] / "configs"
GRIDS = CONFIGS / "grids"  # what ships; `hauberk bench poisoning` plays one by its name


def read_grid(path: str | Path, changes: Sequence[str] = (), only: Sequence[str] = ()) -> Grid:
    """Returns the grid in a TOML file, or the shipped one of that name.

    Args:
        path: the file or the name.
        changes: ``a.b=value`` for the spec that all cells share.
        only: ``key=label`` or ``key=label,label``: the values of that key that are wanted, by default all.

    Raises:
        SpecError: the file is missing or no TOML, or its grid is impossible; the cells' own mistakes come later.
    """
    tables = _extended(_found(path), ())
    axes, exclude, about = tables.pop("grid", None), tables.pop("exclude", []), tables.pop("about", "")
    axes = _checked(path, axes)
    for change in changes:
        _check_free(change, axes)
        assign(tables, change)
    axes = _with_no_attack(axes, tables)
    excluded = tuple(_excludes(path, exclude, axes))
    for wanted in only:
        axes = _restricted(axes, wanted)
    name = str(tables.get("name", Path(path).stem))
    kept = tuple(one for one in excluded if all(_has(axes, key, label) for key, label in one.items()))
    return Grid(name, tables, axes, kept, " ".join(str(about).split()))


def is_grid(path: str | Path) -> bool:
    """Returns whether a file, or what ships under that name, is a grid and no single experiment."""
    if not os.path.isfile(path):
        return os.path.isfile(GRIDS / f"{path}.toml")
    return "grid" in _extended(Path(path), ())


def _checked(path: str | Path, axes: Any) -> dict[str, list[Any]]:
    """Returns the values of each key of the grid."""
    if not isinstance(axes, Mapping) or not axes:
        raise SpecError(f"{path}: [grid]: must list values for at least one key, got {axes!r}")
    for key, values in axes.items():
        if not all(key.split(".")):
            raise SpecError(f"{path}: grid.{key}: must be a dotted name of the spec, got {key!r}")
        if not isinstance(values, list) or not values:
            raise SpecError(f"{path}: grid.{key}: must be a list of at least one value, got {values!r}")
        if key == VARIANT and not all(isinstance(value, Mapping) for value in values):
            raise SpecError(
                f"{path}: grid.{key}: must be tables of sections, each with a title, got {values!r}"
            )
        _distinct(path, key, [label_of(value) for value in values])
    return {key: list(values) for key, values in axes.items()}


def _check_free(change: str, axes: Mapping[str, list[Any]]) -> None:
    """Refuses a change that the grid's own values would take back."""
    changed = change.partition("=")[0].strip()
    if key := next((key for key in axes if changed == key or changed.startswith(f"{key}.")), None):
        raise SpecError(
            f"--set {printable(change)}: the grid varies {key}; --only {key}=... chooses among its values"
        )


def _with_no_attack(axes: dict[str, list[Any]], tables: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Returns the axes with a cell in which nobody lies: what a rule costs there is half of what it is worth.

    It takes no time: it is the twin whose natural rate the attacked cells are read against.
    """
    attacks = axes.get("attack", [])
    if not attacks and not any(key.startswith("attack.") for key in axes):
        attacks = [tables["attack"]] if tables.get("attack") else []
    if not attacks or NO_ATTACK in map(label_of, attacks):
        return axes
    return {**axes, "attack": [{TITLE: NO_ATTACK}, *attacks]}


def _restricted(axes: dict[str, list[Any]], wanted: str) -> dict[str, list[Any]]:
    """Returns the axes with one of them cut to the labels in ``key=label,label``."""
    key, _, labels = wanted.partition("=")
    if key not in axes:
        raise SpecError(f"--only {printable(wanted)}: no key of the grid, got {key!r}; {nearest(key, axes)}")
    known = {label_of(value): value for value in axes[key]}
    for label in labels.split(","):
        if label not in known:
            raise SpecError(
                f"--only {printable(wanted)}: no value of {key}, got {label!r}; {nearest(label, known)}"
            )
    return {**axes, key: [known[label] for label in labels.split(",")]}


def _has(axes: Mapping[str, list[Any]], key: str, label: str) -> bool:
    return label in map(label_of, axes[key])


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
    shipped = {preset.stem: preset for preset in GRIDS.glob("*.toml")}
    if os.path.isfile(path):
        return Path(path)
    if str(path) not in shipped:
        raise SpecError(f"{path}: no such file, and no grid that ships; {nearest(str(path), shipped)}")
    return shipped[str(path)]


def _extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """Returns the tables of a file over those that it extends."""
    if path.resolve() in seen:
        raise SpecError(f"{path}: extends itself")
    tables = loader.read_tables(path)
    base = tables.pop("extends", None)
    if base is None:
        return tables
    if not isinstance(base, str):
        raise SpecError(f"{path}: extends: must be a file or a preset, got {base!r}")
    where = path.parent / base
    if not os.path.isfile(where):
        presets = {preset.stem: preset for folder in (CONFIGS, GRIDS) for preset in folder.glob("*.toml")}
        if base not in presets:
            raise SpecError(f"{path}: extends: no file and no preset {base!r}; {nearest(base, presets)}")
        where = presets[base]
    return merged(_extended(where, (*seen, path.resolve())), tables)
