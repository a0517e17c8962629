"""One matrix of updates through every convention of every rule that has several: whom each would believe.

Peers mean different things by the same name: Krums differ in the neighbours they count and in the distance,
FLAMEs in what they cluster. A finding that depends on it should say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch

from hauberk.strategies.base import Aggregation, AggregationContext
from hauberk.strategies.chain import PreAggregator, chain
from hauberk.strategies.kernels.chunks import Updates


@dataclass(frozen=True, kw_only=True)
class Believed:
    """Whom one rule believed under one convention: a row of a table.

    Attributes:
        rule: the rule's name in the table of aggregators.
        convention: the convention's name.
        weight: how much each client counted, by client id; None where the rule gives no weights or no result.
        error: why there is no result, else None.
    """

    rule: str
    convention: str
    weight: dict[int, float] | None
    error: str | None = None


def crosscheck(
    updates: Updates,
    rules: Mapping[str, type[Any]],
    *,
    context: AggregationContext | None = None,
    before: Sequence[PreAggregator] = (),
    own: Mapping[str, Mapping[str, Any]] | None = None,
    **settings: Any,
) -> list[Believed]:
    """Returns a row for each convention of each of ``rules`` that has any, in the order of the table.

    Every rule starts without a memory and draws the same noise. One that cannot work with these rows, too few
    of them or a context that lacks what it needs, has its reason in ``error``; the others go on.

    Args:
        updates: shape [n_clients, n_params].
        rules: names and classes, such as AGGREGATORS; one with a field ``convention`` takes part.
        context: what the rules may know beside the rows.
        before: pre-aggregators, in front of every rule.
        own: parameters for one rule alone, by its name.
        settings: parameters for the rules that have them, such as n_malicious=1.
    """
    context, own = context or AggregationContext(), own or {}
    return [
        _belief(updates, name, build, convention, context)
        for name, kind in rules.items()
        for convention in conventions(kind)
        for build in [partial(_build, kind, {**settings, **own.get(name, {})}, tuple(before))]
    ]


def conventions(kind: type[Any]) -> tuple[str, ...]:
    """Returns the names that the field ``convention`` of a rule may have, its default first; none without it.

    The names are those of its type, a Literal; of any other type only the default is known.
    """
    default: Any = {field.name: field.default for field in fields(kind)}.get("convention")
    if default is None:
        return ()
    hint = get_type_hints(kind)["convention"]
    names = get_args(hint) if get_origin(hint) is Literal else ()
    return (default, *(name for name in names if name != default))


def _accepted(kind: type[Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those of ``settings`` that are parameters of ``kind``."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in settings.items() if name in names}


def _build(
    kind: type[Any], settings: Mapping[str, Any], before: tuple[PreAggregator, ...], convention: str
) -> Callable[..., Aggregation]:
    rule = kind(**_accepted(kind, {**settings, "convention": convention}))
    return chain(*before, rule) if before else rule


def _belief(
    updates: Updates,
    name: str,
    build: Callable[[str], Callable[..., Aggregation]],
    convention: str,
    context: AggregationContext,
) -> Believed:
    rng = torch.Generator(context.rng.device)
    rng.set_state(context.rng.get_state())
    try:
        weight = build(convention)(updates, context=replace(context, rng=rng)).weight
    except ValueError as error:
        return Believed(rule=name, convention=convention, weight=None, error=str(error))
    if weight is None:
        return Believed(rule=name, convention=convention, weight=None)
    believed = dict(zip(context.ids(len(updates)), weight.tolist(), strict=True))
    return Believed(rule=name, convention=convention, weight=believed)
