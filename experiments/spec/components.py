"""Components: from a name and its parameters in a spec to the frozen dataclass that a package's table holds."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import groupby
from types import NoneType, UnionType
from typing import Any, Optional, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from hauberk.tasks.errors import nearest

Component = dict[str, Any]
T = TypeVar("T")
STRICT = ConfigDict(extra="forbid", strict=True, arbitrary_types_allowed=True)


def normalise(
    raw: Any, table: Mapping[str, type], shared: Mapping[str, Any] | None = None, default: str | None = None
) -> Component:
    """Returns ``raw`` (a name, or a table with a ``name``) with its name first and every default filled in.

    Args:
        raw: what the user wrote.
        table: the known names and their classes.
        shared: parameters that are handed to the classes that know them and ignored by the others.
        default: the name where the user gives none.

    Raises:
        ValueError: all mistakes, one a line, each as ``key: what is wrong``.
    """
    raw = table_of(raw)
    name = raw.pop("name", default)
    if not isinstance(name, str):
        raise ValueError(f"name: missing; known: {', '.join(sorted(table))}")
    if name not in table:
        raise ValueError(f"name: unknown name {name!r}; {nearest(name, table)}")
    cls = table[name]
    known = {key: value for key, value in (shared or {}).items() if key in parameters_of(cls)}
    component = construct(cls, {**known, **raw})
    return {"name": name, **{key: plain(getattr(component, key)) for key in parameters_of(cls)}}


def table_of(raw: Any) -> Component:
    """Returns a bare name or a table as a new table; raises ValueError for anything else."""
    if isinstance(raw, str):
        return {"name": raw}
    if not isinstance(raw, Mapping):
        raise ValueError(f"must be a name or a table, got {raw!r}")
    return dict(raw)


def build(component: Component, table: Mapping[str, type]) -> Any:
    """Returns the instance that a normalised component describes."""
    parameters = {key: value for key, value in component.items() if key != "name"}
    return construct(table[component["name"]], parameters)


def parameters_of(cls: type) -> dict[str, Any]:
    """Returns the parameters of a component's class with their types."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


@cache
def adapter(cls: type) -> TypeAdapter[Any]:
    """Returns what reads the parameters of a component's class, and refuses any other.

    A dataclass takes the settings of what it stands in, so it stands in an optional.
    """
    optional: Any = Optional[cls]  # noqa: UP045  (cls | None is no type to mypy)
    return TypeAdapter(optional, config=STRICT)


def construct(cls: type, raw: Mapping[str, Any]) -> Any:
    """Constructs ``cls`` from the values of a TOML file.

    Raises:
        ValueError: all mistakes, one a line, each as ``key: what is wrong``.
    """
    try:
        return adapter(cls).validate_json(json.dumps(raw, default=str))
    except ValidationError as error:
        raise ValueError("\n".join(mistakes(error, cls))) from None


def mistakes(error: ValidationError, cls: type) -> list[str]:
    """Returns a line for each mistake in the parameters of ``cls``, ``key: what is wrong``."""
    lines = []
    for path, items in groupby(error.errors(), lambda item: _path(item["loc"], cls)):
        lines += _explain(path, list(items), cls)
    return lines


def _path(loc: tuple[int | str, ...], cls: type) -> tuple[int | str, ...]:
    """Returns where a mistake is, without the kinds that pydantic tried where a parameter has a choice of them."""
    return loc[:1] if loc and len(_kinds(parameters_of(cls).get(str(loc[0])))) > 1 else loc


def _explain(path: tuple[int | str, ...], items: list[Any], cls: type) -> list[str]:
    """Returns the lines for one mistake; it has several ``items`` where none of the possible kinds fits."""
    key, first = ".".join(map(str, path)), items[0]
    if first["type"] == "unexpected_keyword_argument":
        return [f"{key}: unknown key; {nearest(str(path[-1]), _parameters_at(path[:-1], cls))}"]
    if first["type"] == "missing":
        return [f"{key}: required, but missing"]
    if first["type"] == "value_error":  # the component's own words, which name the parameter
        return [below(key, line) for line in str(first["ctx"]["error"]).splitlines()]
    rules = [item["msg"][0].lower() + item["msg"][1:] for item in items]
    others = (rule.removeprefix("input should be ") for rule in rules[1:])
    return [f"{key}: {' or '.join([rules[0], *others])}, got {first['input']!r}"]


def _parameters_at(path: Iterable[int | str], cls: type) -> dict[str, Any]:
    """Returns the parameters of ``cls``, or of the dataclass that stands at ``path`` below it."""
    known = parameters_of(cls)
    for key in path:
        known = parameters_of(_kinds(known[str(key)])[0])
    return known


def _kinds(hint: Any) -> list[Any]:
    """Returns the kinds of values that a parameter may have, beside None."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return [kind for kind in kinds if kind is not NoneType]


def below(path: str, line: str) -> str:
    """Returns a mistake's line with the ``path`` above it; the line may name a key of its own."""
    joint = "." if re.match(r"[\w.]+: ", line) else ": "
    return path + joint + line if path else line


def plain(value: Any) -> Any:
    """Returns a value as TOML can hold it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


def numbered(components: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Returns components by name; one that comes again is numbered, so that no report hides another's."""
    found: dict[str, T] = {}
    for name, component in components:
        again = sum(key.partition("#")[0] == name for key in found)
        found[f"{name}#{again + 1}" if again else name] = component
    return found
