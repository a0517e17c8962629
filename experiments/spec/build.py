"""From the sections of a spec to the objects of a run: the one place where they are built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hauberk.attacks import FORGES, POISONS, SCHEDULES, TAMPERS, Attack
from hauberk.clients.optimizers import OPTIMIZERS
from hauberk.clients.plugins import PLUGINS
from hauberk.clients.settings import Training
from hauberk.experiments.spec.components import Component, build, numbered, parameters_of
from hauberk.experiments.spec.registry import aggregators
from hauberk.experiments.spec.sections import (
    AggregatorSection,
    AttackSection,
    FederationSection,
    TrainingSection,
)
from hauberk.experiments.spec.task_section import build_task
from hauberk.server.detectors import DETECTORS, Detector
from hauberk.server.repairs import REPAIRS, Repair
from hauberk.strategies import PRE_AGGREGATORS, chain
from hauberk.tasks.base import Task
from hauberk.tasks.partition import PARTITIONS, Partition


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the sections of a spec describe.

    Attributes:
        task: what is learned.
        partition: how the training data are dealt to the clients.
        training: how a client trains.
        attack: what the malicious clients do; None where nobody lies.
        aggregator: the rule, behind its pre-aggregators where there are any.
        repairs: what is done to the aggregated model, in order and by name.
        detectors: what looks for triggers in the texts that reach the final model, by name.
    """

    task: Task
    partition: Partition
    training: Training
    attack: Attack | None
    aggregator: Any
    repairs: Mapping[str, Repair]
    detectors: Mapping[str, Detector]


def build_parts(sections: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns the parts that the given sections describe, and why others cannot be built, one line each."""
    parts: dict[str, Any] = {}
    problems: list[str] = []
    for name, (section, built) in BUILDERS.items():
        if section not in sections:
            continue
        try:
            parts[name] = built(sections[section])
        except ValueError as error:
            problems += str(error).splitlines()
    return parts, problems


def _partition(section: FederationSection) -> Partition:
    return build(section.partition, PARTITIONS)


def _training(section: TrainingSection) -> Training:
    return Training(
        epochs=section.epochs,
        batch_size=section.batch_size,
        optimizer=build(section.optimizer, OPTIMIZERS),
        precision=section.precision,
        plugins=tuple(build(plugin, PLUGINS) for plugin in section.plugins),
    )


def _attack(section: AttackSection | None) -> Attack | None:
    if section is None:
        return None
    kinds: dict[str, Mapping[str, type]] = {
        "poison": POISONS,
        "tamper": TAMPERS,
        "forge": FORGES,
        "schedule": SCHEDULES,
    }
    components = {kind: getattr(section, kind) for kind in kinds}
    given = {kind: each for kind, each in components.items() if each is not None}
    parts = {kind: build(each, kinds[kind]) for kind, each in given.items()}
    return Attack(**parts, scale=section.scale, keep_plugins=section.keep_plugins)


def _aggregator(section: AggregatorSection) -> Any:
    tables = section.model_dump()
    before = [build(item, PRE_AGGREGATORS) for item in tables.pop("before")]
    known = parameters_of(aggregators()[section.name])
    rule = build({key: tables[key] for key in ("name", *known)}, aggregators())
    return chain(*before, rule) if before else rule


def _repairs(section: list[Component]) -> dict[str, Repair]:
    return numbered((one["name"], build(one, REPAIRS)) for one in section)


def _detectors(section: list[Component]) -> dict[str, Detector]:
    return numbered((one["name"], build(one, DETECTORS)) for one in section)


BUILDERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "task": ("task", build_task),
    "partition": ("federation", _partition),
    "training": ("training", _training),
    "attack": ("attack", _attack),
    "aggregator": ("aggregator", _aggregator),
    "repairs": ("repairs", _repairs),
    "detectors": ("detectors", _detectors),
}
