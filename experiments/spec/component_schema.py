"""JSON Schemas of components, for editors: the parameters that each name takes, with their types and defaults."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from typing import Any

from hauberk.experiments.spec.components import adapter, parameters_of

Schema = dict[str, Any]


def one_of(
    table: Mapping[str, type],
    *,
    default: str | None = None,
    beside: Mapping[str, Schema] | None = None,
    given: Collection[str] = (),
) -> Schema:
    """Returns the schema of one component of ``table``: a bare name, or a table with a ``name``.

    Args:
        table: the known names and their classes.
        default: the name where a user gives parameters alone.
        beside: more keys that stand beside the parameters of every name.
        given: parameters that a component has from elsewhere where the user leaves them out.
    """
    tables = {name: component_schema(name, cls, beside or {}, given) for name, cls in table.items()}
    bare = [name for name, schema in tables.items() if schema["required"] == ["name"]]
    if default is not None:
        tables[default]["required"].remove("name")
    return {"anyOf": [{"enum": bare}, {"oneOf": list(tables.values())}]}


def component_schema(name: str, cls: type, beside: Mapping[str, Schema], given: Collection[str]) -> Schema:
    """Returns the schema of the table that describes the component ``name``; the arguments are those of `one_of`."""
    schema = inlined(adapter(cls).json_schema())
    texts = argument_texts(cls)
    properties = {key: {**value, **texts.get(key, {})} for key, value in schema["properties"].items()}
    return {
        "type": "object",
        "description": inspect.cleandoc(cls.__doc__ or "").partition("\n\nArgs:")[0],
        "properties": {"name": {"enum": [name]}, **beside, **properties},
        "required": ["name", *(key for key in schema.get("required", []) if key not in given)],
        "additionalProperties": False,
    }


def argument_texts(cls: type) -> dict[str, Schema]:
    """Returns what the docstrings of ``cls`` and its bases say of each parameter, as ``{"description": text}``."""
    texts: dict[str, Schema] = {}
    for base in reversed(cls.__mro__):
        block = inspect.cleandoc(base.__doc__ or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
        for key, text in re.findall(r"^    (\w+): (.*(?:\n     .*)*)", block, flags=re.MULTILINE):
            texts[key] = {"description": " ".join(text.split())}
    return {key: text for key, text in texts.items() if key in parameters_of(cls)}


def inlined(schema: Schema) -> Schema:
    """Returns a schema of pydantic's as editors of TOML read it best.

    Without references, without null, which TOML does not have, and in words that draft 7 knows.
    """
    return _inlined(schema, schema.get("$defs", {}))


def _inlined(part: Any, definitions: Mapping[str, Schema]) -> Any:
    if isinstance(part, list):
        return [_inlined(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        beside = {key: value for key, value in part.items() if key != "$ref"}
        return _inlined({**definitions[part["$ref"].rpartition("/")[2]], **beside}, definitions)
    kinds = [kind for kind in part.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        beside = {key: value for key, value in part.items() if key != "anyOf"}
        return _inlined({**kinds[0], **beside}, definitions)
    part = {**part, "anyOf": kinds} if kinds else part
    return dict(_entry(key, value, definitions) for key, value in part.items() if not _needless(key, value))


def _entry(key: str, value: Any, definitions: Mapping[str, Schema]) -> tuple[str, Any]:
    if key == "properties":  # names of the user's keys, not words of the schema
        return key, {name: _inlined(each, definitions) for name, each in value.items()}
    if key == "const":
        return "enum", [value]
    return "items" if key == "prefixItems" else key, _inlined(value, definitions)


def _needless(key: str, value: Any) -> bool:
    return key in ("$defs", "title") or (key == "default" and value is None)
