"""The experiment: one TOML file, read into a frozen model that reports all its mistakes at once."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import Field, ValidationError, model_validator

from hauberk.attacks import FORGES, POISONS, SCHEDULES, TAMPERS, Attack
from hauberk.clients.optimizers import OPTIMIZERS
from hauberk.clients.plugins import PLUGINS
from hauberk.clients.settings import Training
from hauberk.experiments.spec.compatibility import problems_of, rule_problems
from hauberk.experiments.spec.components import build, numbered, parameters_of
from hauberk.experiments.spec.mistakes import SpecError, lines_of
from hauberk.experiments.spec.overrides import assign
from hauberk.experiments.spec.registry import aggregators
from hauberk.experiments.spec.sections import (
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
from hauberk.tasks import TASKS
from hauberk.tasks.partition import PARTITIONS, Partition
from hauberk.tasks.text.datasets import DATASETS
from hauberk.tasks.text.models import MODELS

ALWAYS_PROVIDED = frozenset({"client_ids", "n_examples", "parameters", "layout", "logits", "round", "rng"})


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
        problems = problems_of(self)
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def problems_of(self, rule: Any) -> list[str]:
        """Returns why ``rule`` cannot work in this experiment, one line each."""
        return rule_problems(self, rule)

    @property
    def provided(self) -> frozenset[str]:
        """The fields of a context that this experiment's server can fill."""
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
        return tomllib.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError, PermissionError) as error:
        raise SpecError(f"{path}: not a TOML file: {error}") from None


def parse(tables: Mapping[str, Any], changes: Sequence[str] = (), *, where: str = "") -> Spec:
    """Returns the spec that nested tables describe; raises SpecError with all mistakes."""
    merged = json.loads(json.dumps(tables, default=str))
    for change in changes:
        assign(merged, change)
    try:
        return Spec.model_validate_json(json.dumps(merged), strict=True)
    except ValidationError as error:
        raise SpecError("\n".join(f"{where}{line}" for line in lines_of(error, Spec))) from None


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value
