"""Whether the parts of an experiment fit each other, beyond what each section checks for itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hauberk.clients.plugins import PLUGINS, check_plugins
from hauberk.experiments.spec.components import build
from hauberk.experiments.spec.registry import aggregators
from hauberk.server.repairs import REPAIRS
from hauberk.strategies.base import check, needs_of

if TYPE_CHECKING:
    from hauberk.experiments.spec.loader import Spec

ADVICE = {"root_update": "give the server clean data, server.clean.n_examples >= 1, got 0"}


def problems_of(spec: Spec) -> list[str]:
    """Returns what does not fit in ``spec``, one line each."""
    return [
        problem
        for look in (_rule, _plugins, _attack, _kept_plugins, _repairs, _clean)
        for problem in look(spec)
    ]


def rule_problems(spec: Spec, rule: Any) -> list[str]:
    """Returns why ``rule`` cannot work in this experiment, one line each."""
    try:
        check(rule, spec.federation.cohort_size)
    except ValueError as error:
        return [f"aggregator: {error} (clients_per_round={spec.federation.cohort_size})"]
    return [
        f"aggregator: {name_of(rule)} needs {what}; {ADVICE.get(what, 'no spec provides it')}"
        for what in sorted(needs_of(rule) - spec.provided)
    ]


def name_of(rule: Any) -> str:
    """Returns the name that a rule has in the tables, or that of its class."""
    names = {cls: name for name, cls in aggregators().items()}
    return names.get(type(rule), type(rule).__name__)


def _rule(spec: Spec) -> list[str]:
    return rule_problems(spec, spec.build_aggregator())


def _plugins(spec: Spec) -> Iterator[str]:
    try:
        check_plugins([build(plugin, PLUGINS) for plugin in spec.training.plugins])
    except ValueError as error:
        yield f"training.plugins: {error}"


def _attack(spec: Spec) -> Iterator[str]:
    try:
        spec.build_attack()
    except ValueError as error:
        yield str(error)


def _kept_plugins(spec: Spec) -> Iterator[str]:
    if spec.attack is None or spec.attack.tamper is None or not spec.attack.keep_plugins:
        return
    for plugin in spec.training.plugins:
        if PLUGINS[plugin["name"]].owns_batches:
            yield (
                f"attack.keep_plugins: {plugin['name']} replaces the batches that a tamper trains on, got true and "
                f"tamper = '{spec.attack.tamper['name']}'"
            )


def _repairs(spec: Spec) -> Iterator[str]:
    rounds = spec.federation.rounds
    for repair in spec.repairs:
        if (repair["every"] or 0) > rounds:
            yield (
                f"repairs.{repair['name']}.every: must not exceed federation.rounds = {rounds}, got "
                f"{repair['every']}: it would never run"
            )


def _clean(spec: Spec) -> Iterator[str]:
    if spec.server.clean.n_examples:
        return
    wanting = [f"repairs: {repair['name']}" for repair in spec.repairs if REPAIRS[repair["name"]].needs_clean]
    for who in [*wanting, *(f"detectors: {detector['name']}" for detector in spec.detectors)]:
        yield f"{who} needs clean data of the server's own, server.clean.n_examples >= 1, got 0"
