"""Rows of a table, each aggregated over the clients that have it.

A client of a knowledge graph trains the vectors of its own entities alone: of any other row it has no word, and a zero
is no vote. So each row has a cohort of its own, the clients that changed it, and a rule is asked cohort by cohort.

That is the rule itself where what it makes of a coordinate depends on this coordinate's values alone. A rule that
weighs whole updates (Krum, RFA, FLAME, ...) would weigh a client anew for every cohort, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from hauberk.strategies.base import Aggregation, AggregationContext, Rule, State, needs_of
from hauberk.strategies.layout import Layout
from hauberk.strategies.requirements import required_layout


@dataclass(frozen=True)
class RowWise(Rule):
    """Asks ``rule`` for each cohort of rows.

    Where fewer clients have a row than the rule needs for its ``n_malicious``, it assumes as many as it can: a row that
    two clients have is their mean, and a row of one is that client's word. No rule defends those; the report says how
    many they are.

    Args:
        rule: one with ``row_wise``.
        tables: the tensors of whose rows a client may have some; of the others each client has all.
    """

    rule: Any
    tables: frozenset[str]

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]
        """The fields of the context that the rule needs, and the layout."""
        return needs_of(self.rule) | {"layout"}

    def __call__(
        self, updates: Tensor, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params].

        Raises:
            TooFewClientsError: if there are too few clients for the rule where all of them have a tensor.
        """
        context = context or AggregationContext()
        layout = required_layout(self, context, updates)
        update, counts = torch.zeros_like(updates[0]), torch.zeros(len(updates) + 1, dtype=torch.int64)
        dense = _outside(layout, self.tables)
        result = Aggregation(update, None, state)
        if dense.any():
            result = self.rule(updates[:, dense], context=replace(context, layout=None), state=state)
            update[dense] = result.update
        for slot in (layout[name] for name in sorted(self.tables)):
            table = updates[:, slot.slice].view(len(updates), slot.shape[0], -1)
            out = update[slot.slice].view(slot.shape[0], -1)
            for members, rows in cohorts(table):
                counts[len(members)] += len(rows)
                if len(members):
                    out[rows] = self._of_cohort(table, members, rows, context)
        return Aggregation(update, None, result.state, {**result.report, **_report(counts)})

    def _of_cohort(self, table: Tensor, members: Tensor, rows: Tensor, context: AggregationContext) -> Tensor:
        """Returns the rule's update of ``rows`` over the clients ``members``, [k, width]."""
        block = table[members][:, rows].flatten(1)
        found = fitted(self.rule, len(members))(block, context=_of(context, members))
        return found.update.view(len(rows), -1)


def cohorts(table: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields each set of clients that changed the same rows, with these rows, of ``table`` [n_clients, n_rows, w]."""
    present = (table != 0).any(dim=2).T
    patterns, places = torch.unique(present, dim=0, return_inverse=True)
    order = places.argsort(stable=True)
    for pattern, rows in zip(patterns, order.split(places.bincount().tolist()), strict=True):
        yield pattern.nonzero().flatten(), rows


def fitted(rule: Any, n_clients: int) -> Any:
    """Returns ``rule`` with the largest ``n_malicious`` up to its own that ``n_clients`` allow."""
    for n_malicious in range(getattr(rule, "n_malicious", 0), 0, -1):
        candidate = replace(rule, n_malicious=n_malicious)
        try:
            candidate.check(n_clients)
        except ValueError:
            continue
        return candidate
    return replace(rule, n_malicious=0) if hasattr(rule, "n_malicious") else rule


def _of(context: AggregationContext, members: Tensor) -> AggregationContext:
    """Returns what a rule may know of some of the rows."""
    chosen = members.tolist()
    ids, counts = context.client_ids, context.n_examples
    return AggregationContext(
        client_ids=None if ids is None else tuple(ids[member] for member in chosen),
        n_examples=None if counts is None else tuple(counts[member] for member in chosen),
        round=context.round,
    )


def _report(counts: Tensor) -> dict[str, float]:
    """Returns which share of the rows no client has, and which share one or two: what no rule can defend."""
    total = max(1, int(counts.sum()))
    return {"rows/of_nobody": int(counts[0]) / total, "rows/of_one_or_two": int(counts[1:3].sum()) / total}


def _outside(layout: Layout, tables: frozenset[str]) -> Tensor:
    """Returns which columns belong to none of ``tables``, bool [n_params]."""
    outside = torch.ones(layout.n_params, dtype=torch.bool)
    for name in tables:
        outside[layout[name].slice] = False
    return outside
