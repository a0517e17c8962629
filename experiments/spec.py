"""The experiment: one TOML file, read into a frozen model that reports all its mistakes at once."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import Field, ValidationError, model_validator

from hauberk.attacks import FORGES, POISONS, SCHEDULES, TAMPERS, Attack
from hauberk.clients.optimizers import OPTIMIZERS
from hauberk.clients.plugins import PLUGINS, check_plugins
from hauberk.clients.training import Training
from hauberk.experiments.components import build, numbered, parameters_of
from hauberk.experiments.registry import aggregators
from hauberk.experiments.sections import (
    AggregatorSection,
    AttackSection,
    Detectors,
    EngineSection,
    FederationSection,
    Repairs,
    Section,
    ServerSection,
    TaskSection,
    TrainingSection,
)
from hauberk.server.detectors import DETECTORS, Detector
from hauberk.server.repairs import REPAIRS, Repair
from hauberk.strategies import PRE_AGGREGATORS, chain
from hauberk.strategies.base import check, needs_of
from hauberk.tasks import TASKS
from hauberk.tasks.datasets import DATASETS
from hauberk.tasks.errors import UserError, nearest
from hauberk.tasks.models import MODELS
from hauberk.tasks.partitions import PARTITIONS, Partition

ADVICE = {"root_update": "give the server clean data, server.clean.n_examples >= 1, got 0"}
ALWAYS_PROVIDED = frozenset({"client_ids", "n_examples", "parameters", "layout", "logits", "round", "rng"})


class SpecError(UserError):
    """A spec with mistakes; ``str`` gives one line for each."""


class Spec(Section):
    """One experiment, complete: every default is filled in, every name is known, every number possible."""

    name: str = Field("experiment", min_length=1, pattern=r"^[A-Za-z0-9._-]+$")
    seed: int = Field(0, ge=0)
    device: str = "auto"
    task: TaskSection
    federation: FederationSection
    training: TrainingSection = TrainingSection()
    attack: AttackSection | None = None
    aggregator: AggregatorSection
    server: ServerSection = ServerSection()
    repairs: Repairs = Field(default_factory=list)
    detectors: Detectors = Field(default_factory=list)
    engine: EngineSection = EngineSection()

    @model_validator(mode="after")
    def _parts_fit(self) -> Spec:
        looks = (self._rule, self._plugins, self._attack, self._kept_plugins, self._repairs, self._clean)
        problems = [problem for look in looks for problem in look()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _rule(self) -> list[str]:
        return self.problems_of(self.build_aggregator())

    def problems_of(self, rule: Any) -> list[str]:
        """Returns why ``rule`` cannot work in this experiment, one line each."""
        try:
            check(rule, self.federation.cohort_size)
        except ValueError as error:
            return [f"aggregator: {error} (clients_per_round={self.federation.cohort_size})"]
        lacking = needs_of(rule) - self.provided
        return [
            f"aggregator: {name_of(rule)} needs {what}; {ADVICE.get(what, 'no spec provides it')}"
            for what in sorted(lacking)
        ]

    def _plugins(self) -> list[str]:
        try:
            check_plugins([build(plugin, PLUGINS) for plugin in self.training.plugins])
        except ValueError as error:
            return [f"training.plugins: {error}"]
        return []

    def _attack(self) -> list[str]:
        try:
            self.build_attack()
        except ValueError as error:
            return [str(error)]
        return []

    def _kept_plugins(self) -> list[str]:
        if self.attack is None or self.attack.tamper is None or not self.attack.keep_plugins:
            return []
        return [
            f"attack.keep_plugins: {plugin['name']} replaces the batches that a tamper trains on, got true and "
            f"tamper = '{self.attack.tamper['name']}'"
            for plugin in self.training.plugins
            if PLUGINS[plugin["name"]].owns_batches
        ]

    def _repairs(self) -> list[str]:
        rounds = self.federation.rounds
        return [
            f"repairs.{repair['name']}.every: must not exceed federation.rounds = {rounds}, got {repair['every']}: "
            "it would never run"
            for repair in self.repairs
            if (repair["every"] or 0) > rounds
        ]

    def _clean(self) -> list[str]:
        if self.server.clean.n_examples:
            return []
        wanting = [f"repairs: {r['name']}" for r in self.repairs if REPAIRS[r["name"]].needs_clean]
        wanting += [f"detectors: {detector['name']}" for detector in self.detectors]
        return [
            f"{who} needs clean data of the server's own, server.clean.n_examples >= 1, got 0"
            for who in wanting
        ]

    @property
    def provided(self) -> frozenset[str]:
        """The fields of a cohort that this experiment's server can fill."""
        return ALWAYS_PROVIDED | ({"root_update"} if self.server.clean.n_examples else frozenset())

    @property
    def n_liars(self) -> int:
        """How many clients really lie: none without an attack."""
        return self.federation.n_malicious if self.attack else 0

    def build_task(self) -> Any:
        """Returns the task: data set, model and how texts are cut."""
        section = self.task
        return TASKS[section.name](
            dataset=build(section.dataset, DATASETS),
            model=build(section.model, MODELS),
            max_length=section.max_length,
            validation=section.validation,
            n_train=section.n_train,
        )

    def build_partition(self) -> Partition:
        """Returns how the training data are dealt to the clients."""
        return build(self.federation.partition, PARTITIONS)

    def build_training(self) -> Training:
        """Returns how a client trains."""
        section = self.training
        return Training(
            epochs=section.epochs,
            batch_size=section.batch_size,
            optimizer=build(section.optimizer, OPTIMIZERS),
            precision=section.precision,
            plugins=tuple(build(plugin, PLUGINS) for plugin in section.plugins),
        )

    def build_attack(self) -> Attack | None:
        """Returns what the malicious clients do, or None where nobody lies."""
        if self.attack is None:
            return None
        tables: dict[str, Mapping[str, type]] = {"poison": POISONS, "tamper": TAMPERS, "forge": FORGES}
        parts = {kind: getattr(self.attack, kind) for kind in tables}
        built = {kind: build(part, tables[kind]) for kind, part in parts.items() if part is not None}
        schedule = build(self.attack.schedule, SCHEDULES)
        return Attack(**built, keep_plugins=self.attack.keep_plugins, schedule=schedule)

    def build_repairs(self) -> dict[str, Repair]:
        """Returns what is done to the aggregated model, in order and by name."""
        return numbered((one["name"], build(one, REPAIRS)) for one in self.repairs)

    def build_detectors(self) -> dict[str, Detector]:
        """Returns what looks for triggers in the texts that reach the final model, by name."""
        return numbered((one["name"], build(one, DETECTORS)) for one in self.detectors)

    def build_aggregator(self) -> Any:
        """Returns the rule, behind its pre-aggregators where there are any."""
        section = self.aggregator.model_dump()
        before = [build(item, PRE_AGGREGATORS) for item in section.pop("before")]
        known = parameters_of(aggregators()[section["name"]])
        rule = build({k: v for k, v in section.items() if k == "name" or k in known}, aggregators())
        return chain(*before, rule) if before else rule

    def to_dict(self) -> dict[str, Any]:
        """Returns the resolved spec as nested tables without the values that are None."""
        return _without_none(self.model_dump())

    def to_toml(self) -> str:
        """Returns the resolved spec as TOML that reads back to an equal spec."""
        return tomli_w.dumps(self.to_dict())

    @property
    def hash(self) -> str:
        """Names what the run computes: all but ``name``, what is kept, and where it runs (threads change bits)."""
        tables = self.to_dict()
        del tables["name"]
        tables["engine"] = {"threads_per_client": self.engine.threads_per_client}
        del tables["server"]["keep_updates"]
        return hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()


def name_of(rule: Any) -> str:
    """Returns the name that a rule has in the tables, or that of its class."""
    names = {cls: name for name, cls in aggregators().items()}
    return names.get(type(rule), type(rule).__name__)


def load(path: str | Path, changes: Sequence[str] = ()) -> Spec:
    """Reads a spec file; ``changes`` are ``a.b=value`` as on the command line.

    Raises:
        SpecError: the file is missing or is no TOML, or the spec has mistakes (all of them, one a line).
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError, PermissionError) as error:
        raise SpecError(f"{path}: not a TOML file: {error}") from None
    return parse(tables, changes, where=f"{path}: ")


def parse(tables: Mapping[str, Any], changes: Sequence[str] = (), *, where: str = "") -> Spec:
    """Returns the spec that nested tables describe; raises SpecError with all mistakes."""
    merged = json.loads(json.dumps(tables, default=str))
    for change in changes:
        assign(merged, change)
    try:
        return Spec.model_validate_json(json.dumps(merged), strict=True)
    except ValidationError as error:
        raise SpecError("\n".join(f"{where}{line}" for line in _lines(error))) from None


def assign(tables: dict[str, Any], change: str) -> None:
    """Applies one ``a.b=value``; missing tables are created and a bare component name becomes a table."""
    dotted, equals, text = change.partition("=")
    *path, last = dotted.strip().split(".")
    if not equals or not all([*path, last]):
        raise SpecError(f"--set {change}: must look like a.b=value")
    table = tables
    for part in path:
        below = table.setdefault(part, {})
        if isinstance(below, str):
            below = table[part] = {"name": below}
        if not isinstance(below, dict):
            raise SpecError(f"--set {change}: {part} is a value, not a table")
        table = below
    table[last] = _value(text.strip())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors():
        path = [str(part) for part in item["loc"] if not str(part).startswith("function-")]
        for message in _explain(item, path).split("\n"):
            joint = "." if re.match(r"[\w.]+: ", message) else ": "  # a component names its own keys
            lines.append(".".join(path) + joint + message if path else message)
    return lines


def _explain(item: Any, path: list[str]) -> str:
    if item["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        return f"unknown key; {nearest(path[-1], known)}"
    if item["type"] == "missing":
        return "required, but missing"
    message = item["msg"].removeprefix("Value error, ")
    return (
        message
        if item["type"] == "value_error"
        else f"{message[0].lower()}{message[1:]}, got {item['input']!r}"
    )


def _keys_at(path: list[str]) -> list[str]:
    sections = {
        "": Spec, "task": TaskSection, "federation": FederationSection, "training": TrainingSection,
        "attack": AttackSection, "server": ServerSection, "engine": EngineSection, "server.clean": None,
    }  # fmt: skip
    section = sections.get(".".join(path))
    return list(section.model_fields) if section else ["n_examples"]


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value
