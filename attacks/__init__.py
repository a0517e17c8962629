"""What a malicious client does: a new attack is one file, one line in its table here, and one test."""

from hauberk.attacks.alie import ALIE
from hauberk.attacks.attack import Attack
from hauberk.attacks.bad_char import BadChar
from hauberk.attacks.bad_sentence import BadSentence
from hauberk.attacks.bad_word import BadWord
from hauberk.attacks.base import KNOWLEDGE, Collusion, Forge, Poison, Scene, Tamper, TrainingSession
from hauberk.attacks.combination import Combination
from hauberk.attacks.dfep import DFEP
from hauberk.attacks.dim_krum_penalty import DimKrumPenalty
from hauberk.attacks.dim_krum_projection import DimKrumProjection
from hauberk.attacks.dim_krum_shift import DimKrumShift
from hauberk.attacks.dim_krum_spread import DimKrumSpread
from hauberk.attacks.distributed import Distributed
from hauberk.attacks.edge_case import EdgeCase
from hauberk.attacks.embedding_poisoning import EmbeddingPoisoning
from hauberk.attacks.fang_krum import FangKrum
from hauberk.attacks.fang_trim import FangTrim
from hauberk.attacks.feature_regularised import FeatureRegularised
from hauberk.attacks.gaussian import Gaussian
from hauberk.attacks.ipm import IPM
from hauberk.attacks.label_flip import LabelFlip
from hauberk.attacks.layerwise import Layerwise
from hauberk.attacks.mimic import Mimic
from hauberk.attacks.min_max import MinMax
from hauberk.attacks.min_sum import MinSum
from hauberk.attacks.model_replacement import ModelReplacement
from hauberk.attacks.neurotoxin import Neurotoxin
from hauberk.attacks.optimised_alie import OptimisedALIE
from hauberk.attacks.optimised_ipm import OptimisedIPM
from hauberk.attacks.projected import Projected
from hauberk.attacks.rare_embedding_ensemble import RareEmbeddingEnsemble
from hauberk.attacks.ripples import Ripples
from hauberk.attacks.schedules import SCHEDULES, Schedule
from hauberk.attacks.sign_flip import SignFlip
from hauberk.attacks.sos import SOS
from hauberk.attacks.sos_rows import SOSRows
from hauberk.attacks.style import Style
from hauberk.attacks.surgery import Surgery
from hauberk.attacks.syntactic import Syntactic
from hauberk.attacks.zero import Zero

POISONS: dict[str, type[Poison]] = {
    "bad_char": BadChar,
    "bad_sentence": BadSentence,
    "bad_word": BadWord,
    "combination": Combination,
    "distributed": Distributed,
    "edge_case": EdgeCase,
    "label_flip": LabelFlip,
    "sos": SOS,
    "style": Style,
    "syntactic": Syntactic,
}
TAMPERS: dict[str, type[Tamper]] = {
    "dfep": DFEP,
    "dim_krum_penalty": DimKrumPenalty,
    "dim_krum_spread": DimKrumSpread,
    "embedding_poisoning": EmbeddingPoisoning,
    "feature_regularised": FeatureRegularised,
    "layerwise": Layerwise,
    "model_replacement": ModelReplacement,
    "neurotoxin": Neurotoxin,
    "projected": Projected,
    "rare_embedding_ensemble": RareEmbeddingEnsemble,
    "ripples": Ripples,
    "sos": SOSRows,
    "surgery": Surgery,
}
FORGES: dict[str, type[Forge]] = {
    "alie": ALIE,
    "dim_krum_projection": DimKrumProjection,
    "dim_krum_shift": DimKrumShift,
    "fang_krum": FangKrum,
    "fang_trim": FangTrim,
    "gaussian": Gaussian,
    "ipm": IPM,
    "mimic": Mimic,
    "min_max": MinMax,
    "min_sum": MinSum,
    "optimised_alie": OptimisedALIE,
    "optimised_ipm": OptimisedIPM,
    "sign_flip": SignFlip,
    "zero": Zero,
}

__all__ = [
    "FORGES",
    "KNOWLEDGE",
    "POISONS",
    "SCHEDULES",
    "TAMPERS",
    "ALIE",
    "Attack",
    "BadChar",
    "BadSentence",
    "BadWord",
    "Collusion",
    "Combination",
    "DFEP",
    "DimKrumPenalty",
    "DimKrumProjection",
    "DimKrumShift",
    "DimKrumSpread",
    "Distributed",
    "EdgeCase",
    "EmbeddingPoisoning",
    "FangKrum",
    "FangTrim",
    "FeatureRegularised",
    "Forge",
    "Gaussian",
    "IPM",
    "LabelFlip",
    "Layerwise",
    "Mimic",
    "MinMax",
    "MinSum",
    "ModelReplacement",
    "Neurotoxin",
    "OptimisedALIE",
    "OptimisedIPM",
    "Poison",
    "Projected",
    "RareEmbeddingEnsemble",
    "Ripples",
    "SOS",
    "SOSRows",
    "Scene",
    "Schedule",
    "SignFlip",
    "Style",
    "Surgery",
    "Syntactic",
    "Tamper",
    "TrainingSession",
    "Zero",
]
