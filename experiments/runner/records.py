"""A run's records: lines and summaries of JSON that any reader takes, and what damaged ones are answered with."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hauberk.tasks.errors import UserError

SPEC, ROUNDS, SUMMARY = "spec.toml", "rounds.jsonl", "summary.json"
NOT_EVALUATED = "not_evaluated"  # the key of a record that says why its metrics are null
NOT_FINITE = "not_finite"  # the key under which a record says what its nulls were


class _Checked(BaseModel):
    """The keys of a record that its readers count on; it may have others."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Round(_Checked):
    round: int = Field(ge=1)
    refused: dict[str, str]
    malicious: list[int]
    weights: dict[str, float | None] | None
    forensics: dict[str, float | None]
    wall: float


class _FailedRound(_Checked):
    round: int = Field(ge=1)
    refused: dict[str, str]
    failed: str


class _Summary(_Checked):
    name: str
    spec_hash: str
    aggregator: str
    attack: str | None
    rounds: int = Field(ge=1)
    model_sha256: str
    final: dict[str, float | None]
    seconds: float


def to_json(record: Mapping[str, Any], indent: int | None = None) -> str:
    """Returns a record as JSON; NaN and the infinities, which JSON lacks, are null with their names under a key."""
    reasons = _not_finite(record)
    plain = {**_finite(record), **({NOT_FINITE: reasons} if reasons else {})}
    return json.dumps(plain, indent=indent, allow_nan=False)


def read_run(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the spec tables and the summary of a finished run.

    Raises:
        UserError: there is no run, it is not finished, or a file of it is damaged.
    """
    path = Path(path)
    if not (path / SPEC).exists():
        raise UserError(f"{path}: holds no run (no spec.toml)")
    if not (path / SUMMARY).exists():
        raise UserError(f"{path}: this run is not finished; hauberk run --resume goes on")
    try:
        tables = tomllib.loads(read_text(path / SPEC))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path / 'spec.toml'}: damaged: {error}") from None
    return tables, read_summary(path / SUMMARY)


def read_summary(path: Path) -> dict[str, Any]:
    """Returns a summary; raises UserError if it is damaged."""
    return _parsed(read_text(path), _Summary, str(path))


def read_rounds(path: str | Path) -> list[dict[str, Any]]:
    """Returns the recorded rounds of a run's folder; a last line that a kill cut short does not count.

    Raises:
        UserError: a line is damaged.
    """
    path = Path(path) / ROUNDS
    *lines, rest = read_text(path).split("\n")
    numbered = list(enumerate(lines, start=1))
    if _is_json(rest):
        numbered.append((len(lines) + 1, rest))
    return [read_line(line, f"{path} line {number}") for number, line in numbered if line.strip()]


def read_line(line: str, where: str) -> dict[str, Any]:
    """Returns one recorded round; raises UserError, which says ``where``, if it is damaged."""
    kind = _FailedRound if '"failed": ' in line else _Round
    return _parsed(line, kind, where)


def read_text(path: Path) -> str:
    """Returns a text file; raises UserError where it cannot be read."""
    try:
        return path.read_text(encoding="utf8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _parsed(text: str, kind: type[_Checked], where: str) -> dict[str, Any]:
    try:
        kind.model_validate_json(text)
        record = json.loads(text)
        _restore(record, record.pop(NOT_FINITE, {}))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{where}: damaged: {f'{key}: ' if key else ''}{first['msg']}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise UserError(f"{where}: damaged: {NOT_FINITE} does not fit the record") from None
    return record


def _not_finite(value: Any) -> Any:
    """Returns the names of the numbers in ``value`` that are not finite, as a tree of their keys; empty without any."""
    if isinstance(value, float):
        return "" if math.isfinite(value) else repr(float(value))
    if isinstance(value, Mapping):
        found = {str(key): _not_finite(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        found = {str(place): _not_finite(item) for place, item in enumerate(value)}
    else:
        return ""
    return {key: names for key, names in found.items() if names}


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _restore(value: Any, names: Mapping[str, Any]) -> None:
    """Puts the numbers back in whose places null stands."""
    for key, name in names.items():
        place = int(key) if isinstance(value, list) else key
        if isinstance(name, str):
            value[place] = float(name)
        else:
            _restore(value[place], name)
