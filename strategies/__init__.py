"""How updates become one update: the aggregators, pure tensor code that knows no other folder."""

from __future__ import annotations

from typing import Any

from hauberk.strategies.auto_gm import AutoGM
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
from hauberk.strategies.bulyan import Bulyan
from hauberk.strategies.chain import Chain, PreAggregator, chain
from hauberk.strategies.dim_krum import DimKrum
from hauberk.strategies.fedavg import FedAvg
from hauberk.strategies.guard import Guard
from hauberk.strategies.krum import Krum, MultiKrum
from hauberk.strategies.layout import Layout, Slot, layout_of
from hauberk.strategies.meamed import Meamed
from hauberk.strategies.median import Median
from hauberk.strategies.nnm import NNM
from hauberk.strategies.rfa import RFA
from hauberk.strategies.rows import Collected, Reply, Rows
from hauberk.strategies.trimmed_mean import TrimmedMean

# One line for each rule: its name in a spec, and its class.
AGGREGATORS: dict[str, type[Any]] = {
    "fedavg": FedAvg,
    "median": Median,
    "trimmed_mean": TrimmedMean,
    "meamed": Meamed,
    "krum": Krum,
    "multi_krum": MultiKrum,
    "bulyan": Bulyan,
    "rfa": RFA,
    "auto_gm": AutoGM,
    "dim_krum": DimKrum,
}

PRE_AGGREGATORS: dict[str, type[Any]] = {
    "nnm": NNM,
}

__all__ = [
    "AGGREGATORS",
    "PRE_AGGREGATORS",
    "Aggregation",
    "Aggregator",
    "AutoGM",
    "Bulyan",
    "Chain",
    "Cohort",
    "Collected",
    "DimKrum",
    "FedAvg",
    "Guard",
    "Krum",
    "Layout",
    "Meamed",
    "Median",
    "MultiKrum",
    "NNM",
    "PreAggregator",
    "RFA",
    "Reply",
    "Rows",
    "Rule",
    "Slot",
    "State",
    "TooFewClientsError",
    "TrimmedMean",
    "chain",
    "check",
    "layout_of",
    "needs_of",
]
