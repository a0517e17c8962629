"""A spec as Flower's run configuration holds it: flat, scalars only, lists as JSON texts.

A text that would itself be read as a list, because it begins with a bracket, stands there in JSON's quotes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Scalar = str | int | float | bool


def flatten(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Scalar]:
    """Returns nested tables as one table of dotted keys; `unflatten` is its inverse."""
    flat: dict[str, Scalar] = {}
    for key, value in tables.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = (
                json.dumps(value) if isinstance(value, list) or _looks_like_json(value) else value
            )
    return flat


def unflatten(flat: Mapping[str, Scalar]) -> dict[str, Any]:
    """Returns the nested tables that `flatten` made flat.

    A user types these values, too: a text in brackets is a list where it is JSON, and else that text.
    """
    tables: dict[str, Any] = {}
    for dotted, value in flat.items():
        *path, last = dotted.split(".")
        table = tables
        for part in path:
            table = table.setdefault(part, {})
        table[last] = _read(value)
    return tables


def flat_spec(run_config: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Returns a run configuration without ``out``, the one key that is not the spec's."""
    return {key: value for key, value in run_config.items() if key != "out"}


def _looks_like_json(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("[", '"'))


def _read(value: Scalar) -> Any:
    if not _looks_like_json(value):
        return value
    try:
        return json.loads(str(value))
    except (ValueError, RecursionError):
        return value
