"""Whether the parts of an experiment fit each other, beyond what each section checks for itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hauberk.attacks import Attack
from hauberk.clients.plugins import PLUGINS, check_plugins
from hauberk.clients.settings import Training
from hauberk.experiments.spec.build import build_parts
from hauberk.experiments.spec.components import Component
from hauberk.experiments.spec.names import rule_name
from hauberk.experiments.spec.sections import AttackSection, FederationSection, ServerSection, TrainingSection
from hauberk.server.repairs import REPAIRS
from hauberk.strategies import AGGREGATORS
from hauberk.strategies.base import check, last_rule, needs_of
from hauberk.strategies.serving import serves
from hauberk.strategies.starting import keeps_models_apart
from hauberk.tasks.base import Task

ALWAYS_PROVIDED = frozenset({"client_ids", "n_examples", "parameters", "layout", "round", "rng"})
ROW_WISE = [name for name, rule in AGGREGATORS.items() if getattr(rule, "row_wise", False)]
ADVICE = {
    "root_update": "give the server clean data, server.clean.n_examples >= 1, got 0",
    "logits": "the task has no random inputs to give a model",
}


def checked_parts(sections: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns the parts that sections describe, and what does not fit, one line each.

    Args:
        sections: by name; where one is missing, because it has mistakes of its own, what needs it is left out.
    """
    parts, problems = build_parts(sections)
    known = {**sections, **{f"built_{name}": part for name, part in parts.items()}}
    for look in (
        rule_problems,
        models_apart_problems,
        _modalities,
        _plugins,
        _kept_plugins,
        _repairs,
        _clean,
    ):
        names = inspect.signature(look).parameters
        if names.keys() <= known.keys():
            problems += look(**{name: known[name] for name in names})
    return parts, problems


def rule_problems(
    built_aggregator: Any, built_task: Task, federation: FederationSection, server: ServerSection
) -> list[str]:
    """Returns why a rule cannot work in this experiment, one line each."""
    try:
        check(built_aggregator, federation.cohort_size)
    except ValueError as error:
        return [f"aggregator: {error} (clients_per_round={federation.cohort_size})"]
    if built_task.sparse_tables and not getattr(built_aggregator, "row_wise", False):
        return [
            f"aggregator: {rule_name(built_aggregator)} weighs whole updates, and clients leave rows out of theirs; "
            f"name one of {', '.join(ROW_WISE)}, or have them send all rows, task.rows = 'all'"
        ]
    own = {"root_update"} if server.clean.n_examples else frozenset()
    provided = ALWAYS_PROVIDED | built_task.provides | own
    return [
        f"aggregator: {rule_name(built_aggregator)} needs {what}; {ADVICE.get(what, 'no spec provides it')}"
        for what in sorted(needs_of(built_aggregator) - provided)
    ] + _serving_problems(built_aggregator, built_task, server)


def _serving_problems(rule: Any, task: Task, server: ServerSection) -> list[str]:
    """Returns why a rule that defends while the model answers cannot do so here, one line each."""
    last = last_rule(rule)
    if not serves(last):
        return []
    name, problems = rule_name(last), []
    if last is not rule:
        problems.append(
            f"aggregator.before: {name} keeps what each client sent, and a pre-aggregator mixes it"
        )
    if "logits" not in task.provides:
        problems.append(f"aggregator: {name} answers by logits, and {type(task).__name__} has none")
    if (n := server.clean.n_examples) < last.least_clean:
        problems.append(
            f"aggregator: {name} calibrates on clean data of the server's own, server.clean.n_examples >= "
            f"{last.least_clean}, got {n}"
        )
    return problems


def modality_problems(task: Task, parts: Mapping[str, Any]) -> list[str]:
    """Returns which of ``parts``, by the key that a spec has for them, need other data than ``task`` has."""
    return [
        f"{key}: {type(part).__name__} needs a task of {part.modality}, and {type(task).__name__} has {task.modality}"
        for key, part in parts.items()
        if part.modality not in (None, task.modality)
    ]


def attack_parts(attack: Attack | None) -> dict[str, Any]:
    """Returns the kinds of which an attack is made, by the key that a spec has for them."""
    kinds = {} if attack is None else {kind: getattr(attack, kind) for kind in ("poison", "tamper", "forge")}
    return {f"attack.{kind}": part for kind, part in kinds.items() if part is not None}


def _modalities(
    built_task: Task,
    built_training: Training,
    built_attack: Attack | None,
    built_repairs: Mapping[str, Any],
    built_detectors: Mapping[str, Any],
) -> list[str]:
    plugins = {f"training.plugins.{number}": each for number, each in enumerate(built_training.plugins)}
    repairs = {f"repairs.{name}": each for name, each in built_repairs.items()}
    detectors = {f"detectors.{name}": each for name, each in built_detectors.items()}
    parts = {**plugins, **attack_parts(built_attack), **repairs, **detectors}
    return modality_problems(built_task, parts)


def models_apart_problems(
    built_aggregator: Any,
    federation: FederationSection,
    repairs: Sequence[Component],
    detectors: Sequence[Component],
) -> list[str]:
    """Returns why a rule cannot keep several models apart here, one line each."""
    if not keeps_models_apart(built_aggregator):
        return []
    last = last_rule(built_aggregator)
    name, problems = rule_name(last), []
    if last is not built_aggregator and not serves(last):
        problems.append(
            f"aggregator.before: {name} keeps models apart, and a pre-aggregator mixes updates of all"
        )
    if (n := last.n_groups) > federation.n_clients:
        problems.append(
            f"aggregator.n_groups: must not exceed federation.n_clients = {federation.n_clients}, got {n}"
        )
    problems += [
        f"{key}: {what} the mean of the models that {name} keeps apart, which answers nothing, got "
        f"{', '.join(part['name'] for part in parts)}"
        for key, what, parts in (
            ("repairs", "would repair", repairs),
            ("detectors", "would look at", detectors),
        )
        if parts
    ]
    return problems


def _plugins(built_training: Training) -> Iterator[str]:
    try:
        check_plugins(built_training.plugins)
    except ValueError as error:
        yield f"training.plugins: {error}"


def _kept_plugins(attack: AttackSection | None, training: TrainingSection) -> Iterator[str]:
    if attack is None or attack.tamper is None or not attack.keep_plugins:
        return
    for plugin in training.plugins:
        if PLUGINS[plugin["name"]].owns_batches:
            yield (
                f"attack.keep_plugins: {plugin['name']} replaces the batches that a tamper trains on, got true and "
                f"tamper = '{attack.tamper['name']}'"
            )


def _repairs(repairs: Sequence[Component], federation: FederationSection) -> Iterator[str]:
    for repair in repairs:
        if (repair["every"] or 0) > federation.rounds:
            yield (
                f"repairs.{repair['name']}.every: must not exceed federation.rounds = {federation.rounds}, got "
                f"{repair['every']}: it would never run"
            )


def _clean(
    server: ServerSection, repairs: Sequence[Component], detectors: Sequence[Component]
) -> Iterator[str]:
    if server.clean.n_examples:
        return
    wanting = [f"repairs: {repair['name']}" for repair in repairs if REPAIRS[repair["name"]].needs_clean]
    for who in [*wanting, *(f"detectors: {detector['name']}" for detector in detectors)]:
        yield f"{who} needs clean data of the server's own, server.clean.n_examples >= 1, got 0"
