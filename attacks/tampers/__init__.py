"""How a malicious client trains: a new tamper is one file, one line here, and one test."""

from hauberk.attacks.tampers.base import Tamper
from hauberk.attacks.tampers.dfep import DFEP
from hauberk.attacks.tampers.dim_krum_penalty import DimKrumPenalty
from hauberk.attacks.tampers.dim_krum_spread import DimKrumSpread
from hauberk.attacks.tampers.embedding_poisoning import EmbeddingPoisoning
from hauberk.attacks.tampers.feature_regularised import FeatureRegularised
from hauberk.attacks.tampers.layerwise import Layerwise
from hauberk.attacks.tampers.ledger_boost import LedgerBoost
from hauberk.attacks.tampers.mixture import Mixture
from hauberk.attacks.tampers.model_replacement import ModelReplacement
from hauberk.attacks.tampers.neurotoxin import Neurotoxin
from hauberk.attacks.tampers.projected import Projected
from hauberk.attacks.tampers.rare_embedding_ensemble import RareEmbeddingEnsemble
from hauberk.attacks.tampers.ripples import Ripples
from hauberk.attacks.tampers.sos import SOSRows
from hauberk.attacks.tampers.surgery import Surgery
from hauberk.tasks.training_session import TrainingSession

TAMPERS: dict[str, type[Tamper]] = {
    "dfep": DFEP,
    "dim_krum_penalty": DimKrumPenalty,
    "dim_krum_spread": DimKrumSpread,
    "embedding_poisoning": EmbeddingPoisoning,
    "feature_regularised": FeatureRegularised,
    "layerwise": Layerwise,
    "ledger_boost": LedgerBoost,
    "mixture": Mixture,
    "model_replacement": ModelReplacement,
    "neurotoxin": Neurotoxin,
    "projected": Projected,
    "rare_embedding_ensemble": RareEmbeddingEnsemble,
    "ripples": Ripples,
    "sos": SOSRows,
    "surgery": Surgery,
}

__all__ = [
    "TAMPERS",
    "Tamper",
    "TrainingSession",
    "DFEP",
    "DimKrumPenalty",
    "DimKrumSpread",
    "EmbeddingPoisoning",
    "FeatureRegularised",
    "Layerwise",
    "LedgerBoost",
    "Mixture",
    "ModelReplacement",
    "Neurotoxin",
    "Projected",
    "RareEmbeddingEnsemble",
    "Ripples",
    "SOSRows",
    "Surgery",
]
