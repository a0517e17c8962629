"""Repairs of the aggregated model by name: a new one is one file, one line here, and one test."""

from hauberk.server.repairs.adversarial_unlearning import AdversarialUnlearning
from hauberk.server.repairs.base import Repair
from hauberk.server.repairs.e_pur import EPUR
from hauberk.server.repairs.fine_mixing import FineMixing
from hauberk.server.repairs.fine_pruning import FinePruning
from hauberk.server.repairs.fine_tuning import FineTuning
from hauberk.server.repairs.mixout import Mixout
from hauberk.server.repairs.surgery import Surgery

REPAIRS: dict[str, type[Repair]] = {
    "adversarial_unlearning": AdversarialUnlearning,
    "e_pur": EPUR,
    "fine_mixing": FineMixing,
    "fine_pruning": FinePruning,
    "fine_tuning": FineTuning,
    "mixout": Mixout,
    "surgery": Surgery,
}

__all__ = [
    "EPUR",
    "REPAIRS",
    "AdversarialUnlearning",
    "FineMixing",
    "FinePruning",
    "FineTuning",
    "Mixout",
    "Repair",
    "Surgery",
]
