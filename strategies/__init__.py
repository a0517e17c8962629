"""How updates become one update: the aggregators, pure tensor code that knows no other folder."""

from __future__ import annotations

from typing import Any

from hauberk.strategies.arc import ARC
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
from hauberk.strategies.bucketing import Bucketing
from hauberk.strategies.bulyan import Bulyan
from hauberk.strategies.centered_clip import CenteredClip
from hauberk.strategies.chain import Chain, PreAggregator, chain
from hauberk.strategies.clip import Clip
from hauberk.strategies.crfl import CRFL
from hauberk.strategies.deepsight import DeepSight
from hauberk.strategies.dim_krum import DimKrum
from hauberk.strategies.dnc import DnC
from hauberk.strategies.fedavg import FedAvg
from hauberk.strategies.flame import FLAME
from hauberk.strategies.fltrust import FLTrust
from hauberk.strategies.foolsgold import FoolsGold
from hauberk.strategies.freq_fed import FreqFed
from hauberk.strategies.guard import Guard
from hauberk.strategies.krum import Krum, MultiKrum
from hauberk.strategies.layout import Layout, Slot, layout_of
from hauberk.strategies.mda import MDA
from hauberk.strategies.meamed import Meamed
from hauberk.strategies.median import Median
from hauberk.strategies.monna import MoNNA
from hauberk.strategies.nnm import NNM
from hauberk.strategies.norm_clip import NormClip
from hauberk.strategies.residual_reweighting import ResidualReweighting
from hauberk.strategies.rfa import RFA
from hauberk.strategies.robust_learning_rate import RobustLearningRate
from hauberk.strategies.rows import Collected, Reply, Rows
from hauberk.strategies.sign_guard import SignGuard
from hauberk.strategies.sign_majority import SignMajority
from hauberk.strategies.sparse_fed import SparseFed
from hauberk.strategies.trimmed_mean import TrimmedMean
from hauberk.strategies.weak_dp import WeakDP

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
    "residual_reweighting": ResidualReweighting,
    "auto_gm": AutoGM,
    "mda": MDA,
    "monna": MoNNA,
    "centered_clip": CenteredClip,
    "norm_clip": NormClip,
    "weak_dp": WeakDP,
    "robust_learning_rate": RobustLearningRate,
    "sign_majority": SignMajority,
    "dim_krum": DimKrum,
    "foolsgold": FoolsGold,
    "crfl": CRFL,
    "fltrust": FLTrust,
    "flame": FLAME,
    "dnc": DnC,
    "sparse_fed": SparseFed,
    "freq_fed": FreqFed,
    "deepsight": DeepSight,
    "sign_guard": SignGuard,
}

PRE_AGGREGATORS: dict[str, type[Any]] = {
    "nnm": NNM,
    "bucketing": Bucketing,
    "clip": Clip,
    "arc": ARC,
}

__all__ = [
    "AGGREGATORS",
    "PRE_AGGREGATORS",
    "ARC",
    "Aggregation",
    "Aggregator",
    "AutoGM",
    "Bucketing",
    "Bulyan",
    "CRFL",
    "CenteredClip",
    "Chain",
    "Clip",
    "Cohort",
    "Collected",
    "DeepSight",
    "DimKrum",
    "DnC",
    "FLAME",
    "FLTrust",
    "FedAvg",
    "FoolsGold",
    "FreqFed",
    "Guard",
    "Krum",
    "Layout",
    "MDA",
    "Meamed",
    "Median",
    "MoNNA",
    "MultiKrum",
    "NNM",
    "NormClip",
    "PreAggregator",
    "RFA",
    "Reply",
    "ResidualReweighting",
    "RobustLearningRate",
    "Rows",
    "Rule",
    "SignGuard",
    "SignMajority",
    "Slot",
    "SparseFed",
    "State",
    "TooFewClientsError",
    "TrimmedMean",
    "WeakDP",
    "chain",
    "check",
    "layout_of",
    "needs_of",
]
