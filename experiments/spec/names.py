"""By which names records and screens call what runs."""

from __future__ import annotations

from typing import Any

from hauberk.attacks import FORGES, POISONS, TAMPERS, Attack
from hauberk.experiments.spec.registry import aggregators
from hauberk.strategies.chain import Chain


def rule_name(rule: Any) -> str:
    """Returns the name of a rule, behind whatever pre-aggregators: the table's, or that of its class."""
    if isinstance(rule, Chain):
        return rule_name(rule.rule)
    return _name(rule, aggregators().loaded())


def attack_name(attack: Attack | None) -> str | None:
    """Returns the names of an attack's parts, joined by " + "; None without an attack."""
    if attack is None:
        return None
    kinds = ((attack.poison, POISONS), (attack.tamper, TAMPERS), (attack.forge, FORGES))
    return " + ".join(_name(part, table) for part, table in kinds if part is not None)


def _name(component: Any, table: Any) -> str:
    names = {cls: name for name, cls in table.items()}
    return names.get(type(component), type(component).__name__)
