"""What may stand before a rule, by name: a new pre-aggregator is one file, one line here, and one test."""

from typing import Any

from hauberk.strategies.pre_aggregators.arc import ARC
from hauberk.strategies.pre_aggregators.bucketing import Bucketing
from hauberk.strategies.pre_aggregators.clip import Clip
from hauberk.strategies.pre_aggregators.nnm import NNM

PRE_AGGREGATORS: dict[str, type[Any]] = {
    "nnm": NNM,
    "bucketing": Bucketing,
    "clip": Clip,
    "arc": ARC,
}

__all__ = ["PRE_AGGREGATORS", "NNM", "Bucketing", "Clip", "ARC"]
