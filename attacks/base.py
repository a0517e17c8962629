"""The contracts of an attack: Poison (what a client trains on), Tamper (how), Forge (what colluders send).

Each is a frozen dataclass of hyper-parameters that keeps no state, draws from the generator it is given, and
declares in ``knowledge`` what its attacker must know.
"""

from hauberk.attacks.forge import Collusion, Forge
from hauberk.attacks.knowledge import BENIGN_UPDATES, KNOWLEDGE, OWN_DATA, THE_RULE, strongest
from hauberk.attacks.poison import Poison, Scene
from hauberk.attacks.tamper import Tamper, TrainingSession

__all__ = [
    "BENIGN_UPDATES",
    "KNOWLEDGE",
    "OWN_DATA",
    "THE_RULE",
    "Collusion",
    "Forge",
    "Poison",
    "Scene",
    "Tamper",
    "TrainingSession",
    "strongest",
]
