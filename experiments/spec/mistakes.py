"""The mistakes of a spec, in the words of its user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from hauberk.experiments.spec.components import below
from hauberk.tasks.errors import UserError, nearest

LONGEST = 1000  # characters of a line: more than that nobody reads, and a value can be of any length


class SpecError(UserError):
    """A spec with mistakes; ``str`` gives one line for each."""

    def __init__(self, lines: str) -> None:
        super().__init__("\n".join(map(_readable, lines.split("\n"))))


def printable(text: str) -> str:
    """Returns a text as one line that a terminal can show: what cannot be printed is escaped."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _readable(line: str) -> str:
    shown = printable(line)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 300]} ... {shown[-200:]}"


def lines_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Returns a line for each mistake that the validation of ``model`` found: the key, the rule, and what was got."""
    lines = []
    for item in error.errors():
        path = [str(part) for part in item["loc"] if not str(part).startswith("function-")]
        lines += [below(".".join(path), line) for line in _explain(item, path, model).splitlines()]
    return lines


def _explain(item: Any, path: Sequence[str], model: type[BaseModel]) -> str:
    if item["type"] == "extra_forbidden":
        return f"unknown key; {nearest(path[-1], _keys_at(path[:-1], model))}"
    if item["type"] == "missing":
        return "required, but missing"
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        return message
    return f"{message[0].lower()}{message[1:]}, got {item['input']!r}"


def _keys_at(path: Sequence[str], model: type[BaseModel]) -> list[str]:
    """Returns the keys of the section at ``path`` below ``model``."""
    for key in path:
        kind: Any = model.model_fields[key].annotation
        model = next(
            one for one in (kind, *get_args(kind)) if isinstance(one, type) and issubclass(one, BaseModel)
        )
    return list(model.model_fields)
