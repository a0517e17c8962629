"""Pre-aggregation before a rule: each stage mixes the rows, the last one makes them one update."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from torch import Tensor

from hauberk.strategies.base import (
    Aggregation,
    AggregationContext,
    Aggregator,
    Rule,
    State,
    check,
    needs_of,
)
from hauberk.strategies.kernels.chunks import Mixture, Updates
from hauberk.strategies.kernels.geometry import Geometry


class PreAggregator(Rule):
    """What comes before a rule: rows in, rows out, every new row a mixture of the old ones.

    So it is told by its mixing matrix alone, and a chain applies that a slice of columns at a time.

    Attributes:
        keeps_clients: whether new row k is still client k's.
    """

    keeps_clients: ClassVar[bool] = True

    def mixing(self, updates: Updates, context: AggregationContext) -> Tensor:
        """Returns how much each of ``updates`` counts in each new row, [n_rows, n_clients] in float64."""
        raise NotImplementedError

    def measured_mixing(
        self, updates: Updates, context: AggregationContext
    ) -> tuple[Tensor, Geometry | None]:
        """Returns the mixing matrix, and what was measured of ``updates`` for it, where others may use it."""
        return self.mixing(updates, context), None

    def n_rows(self, n_clients: int) -> int:
        """Returns how many rows come out of ``n_clients``."""
        return n_clients

    def mix(self, updates: Updates, context: AggregationContext) -> Mixture:
        """Returns the new rows without making a matrix of them.

        Raises:
            TooFewClientsError: if there are too few clients.
        """
        self.admit(updates)
        return Mixture(updates, self.mixing(updates, context))

    def __call__(self, updates: Updates, *, context: AggregationContext | None = None) -> Tensor:
        """Returns the new rows as a matrix, shape [n_rows, n_params]."""
        return self.mix(updates, context or AggregationContext()).matrix()


@dataclass(frozen=True, kw_only=True)
class Chain(Rule):
    """Applies pre-aggregators in order, then a rule.

    Args:
        before: the pre-aggregators.
        rule: any aggregator. One that does not stream is given a matrix of the mixed rows.
    """

    before: tuple[PreAggregator, ...]
    rule: Aggregator

    @property
    def needs(self) -> frozenset[str]:  # type: ignore[override]  # depends on the stages
        """Returns the fields of ``AggregationContext`` that any stage cannot do without."""
        return needs_of(self.rule).union(*(stage.needs for stage in self.before))

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError if any stage cannot work with the rows it would get."""
        for stage in self.before:
            stage.check(n_clients)
            n_clients = stage.n_rows(n_clients)
        check(self.rule, n_clients)

    def __call__(
        self, updates: Updates, *, context: AggregationContext | None = None, state: State | None = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` is the rule's.

        The weight says how much each client counted through all stages; the geometry is of ``updates``, never of mixed
        rows. Rows that are no single client's have no client ids: a rule that remembers clients remembers nothing of
        them.

        Raises:
            TooFewClientsError: if there are too few clients for any stage.
        """
        self.admit(updates)
        context, nameless, geometry = context or AggregationContext(), False, None
        rows: Any = updates
        for stage in self.before:
            stage.admit(rows)
            mixing, measured = stage.measured_mixing(rows, context)
            geometry = measured if rows is updates else geometry
            rows = Mixture(rows, mixing)
            if not stage.keeps_clients or len(rows) != len(updates):
                context, nameless = replace(context, client_ids=None, n_examples=None), True
        forgets = nameless and getattr(self.rule, "remembers_clients", False)
        result = self._judged(rows, context, None if forgets else state)
        result = replace(result, state=None) if forgets else result
        if rows is updates:
            return result
        result = replace(result, geometry=geometry)  # the rule's own is of mixed rows
        if result.weight is None:
            return result
        weight = result.weight.to(rows.mixing) @ rows.mixing
        return replace(result, weight=weight / weight.sum())

    def _judged(self, rows: Any, context: AggregationContext, state: State | None) -> Aggregation:
        if isinstance(rows, Mixture) and not getattr(self.rule, "streams", False):
            rows = rows.matrix()
        return self.rule(rows, context=context, state=state)


def chain(*stages: Any) -> Chain:
    """Returns ``chain(pre, ..., rule)``: the last stage is the rule, the others come before it.

    Raises:
        ValueError: if there is no stage.
    """
    if not stages:
        raise ValueError("chain needs a rule as its last stage, got no stages.")
    return Chain(before=stages[:-1], rule=stages[-1])
