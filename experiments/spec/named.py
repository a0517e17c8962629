"""The fields of a section that hold components: they check them, fill their defaults in, and describe them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from hauberk.experiments.spec.component_schema import one_of
from hauberk.experiments.spec.components import Component, below, normalise


class Named:
    """Marks a field that holds one component.

    Args:
        table: the known names and their classes.
        default: the name where a user gives parameters alone.
    """

    def __init__(self, table: Mapping[str, type], default: str | None = None) -> None:
        self.table, self.default = table, default

    def read(self, raw: Any) -> Any:
        """Returns the component that ``raw`` describes; raises ValueError with all mistakes."""
        return normalise(raw, self.table, default=self.default)

    def json_schema(self) -> dict[str, Any]:
        """Returns the JSON Schema of the field."""
        return one_of(self.table, default=self.default)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Checks before pydantic sees the value."""
        return core_schema.no_info_before_validator_function(self.read, handler(source))

    def __get_pydantic_json_schema__(self, *_: Any) -> dict[str, Any]:
        """Describes the field."""
        return self.json_schema()


class NamedList(Named):
    """Marks a field that holds a list of components."""

    def read(self, raw: Any) -> list[Component]:
        """Returns the components that ``raw`` describes; raises ValueError with all mistakes."""
        return normalise_list(raw, self.table)

    def json_schema(self) -> dict[str, Any]:
        """Returns the JSON Schema of the field."""
        return {"type": "array", "items": one_of(self.table)}


def normalise_list(
    raw: Any, table: Mapping[str, type], shared: Mapping[str, Any] | None = None
) -> list[Component]:
    """Returns each of ``raw`` as `normalise` does; raises ValueError with all mistakes, each with its component."""
    if not isinstance(raw, list):
        raise ValueError(f"must be a list of names or tables, got {raw!r}")
    found: list[Component] = []
    problems: list[str] = []
    for item in raw:
        component, wrong = attempt(normalise, item, table, shared)
        found.append(component)
        problems += [below(_name_of(item, table), line) for line in wrong]
    if problems:
        raise ValueError("\n".join(problems))
    return found


def attempt(read: Callable[..., Any], *arguments: Any) -> tuple[Any, list[str]]:
    """Returns what ``read`` makes of its arguments, or None and the mistakes that it found, one a line."""
    try:
        return read(*arguments), []
    except ValueError as error:
        return None, str(error).splitlines()


def _name_of(item: Any, table: Mapping[str, type]) -> str:
    """Returns the name by which a mistake says in which component it is; empty where that is the mistake."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return name if isinstance(name, str) and name in table else ""
