"""What colluders send: a new forge is one file, one line here, and one test."""

from hauberk.attacks.forges.alie import ALIE
from hauberk.attacks.forges.base import Collusion, Forge
from hauberk.attacks.forges.dim_krum_projection import DimKrumProjection
from hauberk.attacks.forges.dim_krum_shift import DimKrumShift
from hauberk.attacks.forges.fang_krum import FangKrum
from hauberk.attacks.forges.fang_trim import FangTrim
from hauberk.attacks.forges.gaussian import Gaussian
from hauberk.attacks.forges.ipm import IPM
from hauberk.attacks.forges.mimic import Mimic
from hauberk.attacks.forges.min_max import MinMax
from hauberk.attacks.forges.min_sum import MinSum
from hauberk.attacks.forges.optimised_alie import OptimisedALIE
from hauberk.attacks.forges.optimised_ipm import OptimisedIPM
from hauberk.attacks.forges.sign_flip import SignFlip
from hauberk.attacks.forges.zero import Zero

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
    "Collusion",
    "Forge",
    "ALIE",
    "DimKrumProjection",
    "DimKrumShift",
    "FangKrum",
    "FangTrim",
    "Gaussian",
    "IPM",
    "Mimic",
    "MinMax",
    "MinSum",
    "OptimisedALIE",
    "OptimisedIPM",
    "SignFlip",
    "Zero",
]
