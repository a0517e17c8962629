"""The section ``[task]``: which keys it has, the task that it names says: its own fields, and what they can name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, model_validator

from hauberk.experiments.spec.component_schema import Schema, component_schema, one_of
from hauberk.experiments.spec.components import (
    Component,
    below,
    build,
    construct,
    normalise,
    parameters_of,
    plain,
    table_of,
)
from hauberk.experiments.spec.named import attempt
from hauberk.tasks import DEFAULT_TASK, TASKS
from hauberk.tasks.base import Task
from hauberk.tasks.errors import nearest


class TaskSection(BaseModel):
    """What is learned: ``name``, and the settings of the task of that name beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, raw: Any) -> Any:
        return normalise_task(raw)

    @classmethod
    def __get_pydantic_json_schema__(cls, *_: Any) -> dict[str, Any]:
        """Describes each task with its own settings."""
        return {"oneOf": [_schema(name, task) for name, task in TASKS.items()]}

    @property
    def chosen(self) -> dict[str, str]:
        """What the task's components name, by key, such as the data set and the model."""
        settings = self.model_dump()
        return {key: settings[key]["name"] for key in TASKS[self.name].components}


def normalise_task(raw: Any) -> Component:
    """Returns the section's keys with every default filled in.

    Raises:
        ValueError: all mistakes, one a line, each as ``key: what is wrong``.
    """
    raw = table_of(raw)
    name = raw.pop("name", DEFAULT_TASK)
    if not isinstance(name, str) or name not in TASKS:
        raise ValueError(f"name: unknown name {name!r}; {nearest(str(name), TASKS)}")
    task = TASKS[name]
    known = _keys(task)
    problems = [f"{key}: unknown key; {nearest(key, known)}" for key in raw if key not in known]
    section: Component = {"name": name}
    for key, table in task.components.items():
        section[key], wrong = attempt(_component, raw, key, task, table)
        problems += wrong
    given = {key: value for key, value in raw.items() if key in known and key not in task.components}
    settings, wrong = attempt(construct, settings_of(task), given)
    if problems or wrong:
        raise ValueError("\n".join([*problems, *wrong]))
    return {**section, **{key: plain(getattr(settings, key)) for key in parameters_of(type(settings))}}


def build_task(section: TaskSection) -> Task:
    """Returns the task that a section describes; raises UserError where its settings are impossible."""
    task, values = TASKS[section.name], section.model_dump()
    del values["name"]
    chosen = {key: build(values.pop(key), table) for key, table in task.components.items()}
    settings = construct(settings_of(task), values)
    return task(**chosen, **{key: getattr(settings, key) for key in parameters_of(type(settings))})


@cache
def settings_of(task: type[Task]) -> type:
    """Returns a dataclass of those fields of a task that name nothing and that no data fill in."""
    hints = get_type_hints(task)
    fields = []
    for each in _fields(task):
        if each.name not in task.components:
            plain_field = dataclasses.field(default=each.default, default_factory=each.default_factory)
            fields.append((each.name, hints[each.name], plain_field))
    return dataclasses.make_dataclass(
        task.__name__, fields, namespace={"__doc__": task.__doc__}, frozen=True, kw_only=True
    )


def _component(raw: dict[str, Any], key: str, task: type[Task], table: Mapping[str, type]) -> Component:
    """Returns the component that stands under ``key``, or the task's default for it."""
    if key in raw:
        component, wrong = attempt(normalise, raw[key], table)
        if wrong:
            raise ValueError("\n".join(below(key, line) for line in wrong))
        return component
    default = next(each.default for each in _fields(task) if each.name == key)
    if default is dataclasses.MISSING:
        raise ValueError(f"{key}: required, but missing")
    name = next(name for name, cls in table.items() if cls is type(default))
    return {"name": name, **plain(default)}


def _schema(name: str, task: type[Task]) -> Schema:
    """Returns the JSON Schema of the section of one task."""
    parts = {key: one_of(table) for key, table in task.components.items()}
    schema = component_schema(name, settings_of(task), parts, ())
    required = [
        each.name for each in _fields(task) if each.name in parts and each.default is dataclasses.MISSING
    ]
    schema["required"] += required
    if name == DEFAULT_TASK:
        schema["required"].remove("name")
    return schema


def _keys(task: type[Task]) -> list[str]:
    return ["name", *(each.name for each in _fields(task))]


def _fields(task: type[Task]) -> list[dataclasses.Field[Any]]:
    """Returns the fields of a task that are settings."""
    settings: Any = task
    return [each for each in dataclasses.fields(settings) if each.init and each.name not in task.bound]
