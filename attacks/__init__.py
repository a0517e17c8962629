"""What a malicious client does: a new attack is one file, one line in its table here, and one test."""

from hauberk.attacks.attack import Attack
from hauberk.attacks.bad_sentence import BadSentence
from hauberk.attacks.bad_word import BadWord
from hauberk.attacks.base import KNOWLEDGE, Collusion, Forge, Poison, Scene, Tamper, TrainingSession
from hauberk.attacks.model_replacement import ModelReplacement
from hauberk.attacks.sign_flip import SignFlip

POISONS: dict[str, type[Poison]] = {"bad_sentence": BadSentence, "bad_word": BadWord}
TAMPERS: dict[str, type[Tamper]] = {"model_replacement": ModelReplacement}
FORGES: dict[str, type[Forge]] = {"sign_flip": SignFlip}

__all__ = [
    "FORGES",
    "KNOWLEDGE",
    "POISONS",
    "TAMPERS",
    "Attack",
    "BadSentence",
    "BadWord",
    "Collusion",
    "Forge",
    "ModelReplacement",
    "Poison",
    "Scene",
    "SignFlip",
    "Tamper",
    "TrainingSession",
]
