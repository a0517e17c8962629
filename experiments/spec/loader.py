"""The experiment: one TOML file, read into a frozen model that reports all its mistakes at once."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import tomli_w
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from hauberk.experiments.spec.build import Parts
from hauberk.experiments.spec.compatibility import checked_parts
from hauberk.experiments.spec.mistakes import SpecError, lines_of
from hauberk.experiments.spec.overrides import assign
from hauberk.experiments.spec.sections import (
    AggregatorSection,
    AttackSection,
    Detectors,
    EngineSection,
    FederationSection,
    Repairs,
    Section,
    ServerSection,
    TrackingSection,
    TrainingSection,
)
from hauberk.experiments.spec.task_section import TaskSection

DEEPEST = 32  # tables and lists in one another; the deepest spec has a quarter of that


class Spec(Section):
    """One experiment, complete: every default is filled in, every name is known, every number possible."""

    name: str = Field("experiment", min_length=1, pattern=r"^[A-Za-z0-9._-]+$")
    seed: int = Field(0, ge=0)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")
    task: TaskSection
    federation: FederationSection
    training: TrainingSection = TrainingSection()
    attack: AttackSection | None = None
    aggregator: AggregatorSection
    server: ServerSection = ServerSection()
    repairs: Repairs = Field(default_factory=list)
    detectors: Detectors = Field(default_factory=list)
    engine: EngineSection = EngineSection()
    tracking: TrackingSection | None = None

    @field_validator("*", mode="after")
    @classmethod
    def _note_what_is_right(cls, value: Any, info: ValidationInfo) -> Any:
        """Hands each section without mistakes to whoever reads the file, who can say more about those."""
        if isinstance(info.context, dict):
            info.context[info.field_name] = value
        return value

    @model_validator(mode="after")
    def _parts_fit(self) -> Spec:
        self.parts  # noqa: B018  (built here, once)
        return self

    @cached_property
    def parts(self) -> Parts:
        """The objects that this spec describes."""
        parts, problems = checked_parts({name: getattr(self, name) for name in type(self).model_fields})
        if problems:
            raise ValueError("\n".join(problems))
        return Parts(**parts)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Returns a copy with some values changed; they are not checked, and its parts are built anew."""
        copy = super().model_copy(update=update, deep=deep)
        vars(copy).pop("parts", None)
        return copy

    def to_dict(self) -> dict[str, Any]:
        """Returns the resolved spec as nested tables without the values that are None."""
        return _without_none(self.model_dump())

    def to_toml(self) -> str:
        """Returns the resolved spec as TOML that reads back to an equal spec."""
        return tomli_w.dumps(self.to_dict())

    @property
    def hash(self) -> str:
        """Names what the run computes: all but ``name``, what is noted, and where it runs (threads change bits)."""
        tables = self.to_dict()
        del tables["name"]
        tables.pop("tracking", None)
        tables["engine"] = {"threads_per_client": self.engine.threads_per_client}
        for key in ("keep_updates", "twin", "forensics", "evaluate_every"):
            del tables["server"][key]
        return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()


def load(path: str | Path, changes: Sequence[str] = ()) -> Spec:
    """Reads a spec file; ``changes`` are ``a.b=value`` as on the command line.

    Raises:
        SpecError: the file is missing or is no TOML, or the spec has mistakes (all of them, one a line).
    """
    tables = read_tables(path)
    return parse(tables, changes, where=f"{path}: ")


def read_tables(path: str | Path) -> dict[str, Any]:
    """Returns the nested tables of a TOML file; raises SpecError where it is missing or no TOML."""
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except RecursionError:
        raise SpecError(f"{path}: not a TOML file: nested too deeply") from None
    except (ValueError, OSError) as error:  # also an integer of more digits than Python reads
        raise SpecError(f"{path}: not a TOML file: {' '.join(str(error).split())}") from None
    check_shape(tables, f"{path}: ")
    return tables


def check_shape(value: Any, where: str = "", depth: int = 0) -> None:
    """Refuses what no spec holds and no message could show.

    Raises:
        SpecError: tables or lists are nested more than DEEPEST times, or a key cannot be printed.
    """
    if depth > DEEPEST:
        raise SpecError(f"{where}nested too deeply: at most {DEEPEST} tables and lists in one another")
    for key in value if isinstance(value, Mapping) else ():
        if not str(key).isprintable():
            raise SpecError(f"{where}a key must be printable, got {key!r}")
    if isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            check_shape(item, where, depth + 1)


def parse(tables: Mapping[str, Any], changes: Sequence[str] = (), *, where: str = "") -> Spec:
    """Returns the spec that nested tables describe; raises SpecError with all mistakes."""
    check_shape(tables, where)
    merged = json.loads(json.dumps(tables, default=str))
    for change in changes:
        assign(merged, change)
    check_shape(merged, where)
    right: dict[str, Any] = {}
    try:
        return Spec.model_validate_json(json.dumps(merged, default=str), strict=True, context=right)
    except ValidationError as error:
        lines = lines_of(error, Spec)
        if any(item["loc"] for item in error.errors()):  # then nobody has looked whether the others fit
            lines += checked_parts(right)[1]
        raise SpecError("\n".join(f"{where}{line}" for line in lines)) from None


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value
