"""The aggregators by name: a new rule is one file, one line here, and one test."""

from typing import Any

from hauberk.strategies.aggregators.align_ins import AlignIns
from hauberk.strategies.aggregators.auto_gm import AutoGM
from hauberk.strategies.aggregators.bulyan import Bulyan
from hauberk.strategies.aggregators.centered_clip import CenteredClip
from hauberk.strategies.aggregators.crfl import CRFL
from hauberk.strategies.aggregators.deepsight import DeepSight
from hauberk.strategies.aggregators.dim_krum import DimKrum
from hauberk.strategies.aggregators.dnc import DnC
from hauberk.strategies.aggregators.fedavg import FedAvg
from hauberk.strategies.aggregators.flame import FLAME
from hauberk.strategies.aggregators.flcert import FLCert
from hauberk.strategies.aggregators.fldetector import FLDetector
from hauberk.strategies.aggregators.fltrust import FLTrust
from hauberk.strategies.aggregators.foolsgold import FoolsGold
from hauberk.strategies.aggregators.freq_fed import FreqFed
from hauberk.strategies.aggregators.krum import Krum
from hauberk.strategies.aggregators.ledger import Ledger
from hauberk.strategies.aggregators.mda import MDA
from hauberk.strategies.aggregators.meamed import Meamed
from hauberk.strategies.aggregators.median import Median
from hauberk.strategies.aggregators.monna import MoNNA
from hauberk.strategies.aggregators.multi_krum import MultiKrum
from hauberk.strategies.aggregators.multi_metrics import MultiMetrics
from hauberk.strategies.aggregators.norm_clip import NormClip
from hauberk.strategies.aggregators.residual_reweighting import ResidualReweighting
from hauberk.strategies.aggregators.rfa import RFA
from hauberk.strategies.aggregators.robust_learning_rate import RobustLearningRate
from hauberk.strategies.aggregators.sign_guard import SignGuard
from hauberk.strategies.aggregators.sign_majority import SignMajority
from hauberk.strategies.aggregators.sparse_fed import SparseFed
from hauberk.strategies.aggregators.trimmed_mean import TrimmedMean
from hauberk.strategies.aggregators.weak_dp import WeakDP

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
    "align_ins": AlignIns,
    "multi_metrics": MultiMetrics,
    "fldetector": FLDetector,
    "flcert": FLCert,
    "ledger": Ledger,
}

__all__ = [
    "AGGREGATORS",
    "FedAvg",
    "Median",
    "TrimmedMean",
    "Meamed",
    "Krum",
    "MultiKrum",
    "Bulyan",
    "RFA",
    "ResidualReweighting",
    "AutoGM",
    "MDA",
    "MoNNA",
    "CenteredClip",
    "NormClip",
    "WeakDP",
    "RobustLearningRate",
    "SignMajority",
    "DimKrum",
    "FoolsGold",
    "CRFL",
    "FLTrust",
    "FLAME",
    "DnC",
    "SparseFed",
    "FreqFed",
    "DeepSight",
    "SignGuard",
    "AlignIns",
    "MultiMetrics",
    "FLDetector",
    "FLCert",
    "Ledger",
]
