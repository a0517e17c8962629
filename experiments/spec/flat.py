"""A spec as Flower's run configuration holds it: flat, scalars only, lists as JSON texts."""

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
            flat[prefix + key] = json.dumps(value) if isinstance(value, list) else value
    return flat


def unflatten(flat: Mapping[str, Scalar]) -> dict[str, Any]:
    """Returns the nested tables that `flatten` made flat; a text in brackets is a list."""
    tables: dict[str, Any] = {}
    for dotted, value in flat.items():
        *path, last = dotted.split(".")
        table = tables
        for part in path:
            table = table.setdefault(part, {})
        table[last] = json.loads(value) if isinstance(value, str) and value.startswith("[") else value
    return tables


def flat_spec(run_config: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Returns a run configuration without ``out``, the one key that is not the spec's."""
    return {key: value for key, value in run_config.items() if key != "out"}
