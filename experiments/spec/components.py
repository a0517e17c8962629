"""Components: from a name and its parameters in a spec to the frozen dataclass that a package's table holds."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model

from hauberk.tasks.errors import nearest

Component = dict[str, Any]
T = TypeVar("T")


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
    given = {key: value for key, value in (shared or {}).items() if key in parameters_of(table[name])}
    return {"name": name, **checked(table[name], {**given, **raw})}


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
    return make(table[component["name"]], parameters)


def parameters_of(cls: type) -> dict[str, Any]:
    """Returns the parameters of a component's class with their types."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


def checked(cls: type, raw: dict[str, Any]) -> dict[str, Any]:
    """Returns the parameters with every default filled in, as plain TOML values; None where a default is None."""
    instance = make(cls, raw)
    return {key: plain(getattr(instance, key)) for key in parameters_of(cls)}


def make(cls: type, raw: dict[str, Any]) -> Any:
    """Constructs ``cls`` from raw values after checking names and types; raises ValueError with all mistakes."""
    raw, parts, wrong = dict(raw), {}, []
    for key, part in _parts_of(cls).items():
        if isinstance(raw.get(key), Mapping):
            try:
                parts[key] = make(part, raw.pop(key))
            except ValueError as error:
                wrong += [f"{key}.{line}" for line in str(error).splitlines()]
    try:
        values = _model(cls).model_validate_json(json.dumps(raw, default=str), strict=True)
    except ValidationError as error:
        wrong += mistakes(error, parameters_of(cls))
    if wrong:
        raise ValueError("\n".join(wrong))
    return cls(**{key: getattr(values, key) for key in values.model_fields_set}, **parts)


def _parts_of(cls: type) -> dict[str, type]:
    """Returns the parameters that are tables of their own, a dataclass or None, with their classes."""
    parts = {}
    for key, hint in parameters_of(cls).items():
        kinds = [kind for kind in get_args(hint) if kind is not NoneType]
        if len(kinds) == 1 and isinstance(kinds[0], type) and dataclasses.is_dataclass(kinds[0]):
            parts[key] = kinds[0]
    return parts


def mistakes(error: ValidationError, known: Mapping[str, Any]) -> list[str]:
    """Returns one line a mistake, ``key: what is wrong``."""
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"] if not str(part).startswith("function-"))
        lines += [f"{key}: {message}" for message in _messages(item, known)]
    return lines


def _messages(item: Any, known: Mapping[str, Any]) -> list[str]:
    if item["type"] == "extra_forbidden":
        name = str(item["loc"][-1])
        return [f"unknown key; {nearest(name, known)}"]
    if item["type"] == "missing":
        return ["required, but missing"]
    return [f"{item['msg'][0].lower()}{item['msg'][1:]}, got {item['input']!r}"]


def _model(cls: type) -> Any:
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        has_default = (
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        )
        fields[field.name] = (parameters_of(cls)[field.name], Field(default=None) if has_default else Field())
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    return create_model(cls.__name__, __config__=config, **fields)


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
