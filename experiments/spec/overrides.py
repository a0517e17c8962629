"""``--set a.b=value``: changes of nested tables, and of the components of commands that look at a finished run."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from hauberk.experiments.spec.components import Component
from hauberk.experiments.spec.mistakes import SpecError, printable
from hauberk.tasks.errors import UserError


def assign(tables: dict[str, Any], change: str) -> None:
    """Applies one ``a.b=value``; missing tables are created and a bare component name becomes a table.

    Raises:
        SpecError: it does not look like that, or there is a value where it needs a table.
    """
    dotted, equals, text = change.partition("=")
    *path, last = dotted.strip().split(".")
    if not equals or not all([*path, last]):
        raise SpecError(f"--set {printable(change)}: must look like a.b=value")
    table = tables
    for part in path:
        below = table.setdefault(part, {})
        if isinstance(below, str):
            below = table[part] = {"name": below}
        if not isinstance(below, dict):
            raise SpecError(f"--set {printable(change)}: {part!r} is a value, not a table")
        table = below
    table[last] = _value(text.strip())


def changed(components: Mapping[str, Component], changes: Sequence[str], kind: str) -> dict[str, Component]:
    """Returns ``components``, by name, with ``changes`` made in them.

    Raises:
        UserError: a change is for another component, or does not look like ``name.key=value``; ``kind`` says of what.
    """
    found = deepcopy(dict(components))
    for change in changes:
        if change.partition(".")[0] not in found:
            raise UserError(
                f"--set {printable(change)}: must begin with one of the {kind} asked for, {', '.join(found)}"
            )
        assign(found, change)
    return found


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # no TOML, or more digits or brackets than Python reads
        return text
