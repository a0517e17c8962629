"""How updates become one update: the aggregators, pure tensor code that knows no other folder."""

from __future__ import annotations

from typing import Any

from hauberk.strategies.base import (
    Aggregation,
    Aggregator,
    Cohort,
    Rule,
    State,
    TooFewClientsError,
    check,
    needs_of,
)
from hauberk.strategies.fedavg import FedAvg
from hauberk.strategies.guard import Guard
from hauberk.strategies.layout import Layout, Slot, layout_of
from hauberk.strategies.rows import Collected, Reply, Rows

AGGREGATORS: dict[str, type[Any]] = {
    "fedavg": FedAvg,
}

PRE_AGGREGATORS: dict[str, type[Any]] = {}

__all__ = [
    "AGGREGATORS",
    "PRE_AGGREGATORS",
    "Aggregation",
    "Aggregator",
    "Cohort",
    "Collected",
    "FedAvg",
    "Guard",
    "Layout",
    "Reply",
    "Rows",
    "Rule",
    "Slot",
    "State",
    "TooFewClientsError",
    "check",
    "layout_of",
    "needs_of",
]
