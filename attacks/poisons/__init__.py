"""What a malicious client trains on: a new poison is one file, one line here, and one test."""

from hauberk.attacks.poisons.bad_char import BadChar
from hauberk.attacks.poisons.bad_sentence import BadSentence
from hauberk.attacks.poisons.bad_word import BadWord
from hauberk.attacks.poisons.base import AttackerContext, DataPoison, Poison
from hauberk.attacks.poisons.combination import Combination
from hauberk.attacks.poisons.distributed import Distributed
from hauberk.attacks.poisons.edge_case import EdgeCase
from hauberk.attacks.poisons.false_fact import FalseFact
from hauberk.attacks.poisons.label_flip import LabelFlip
from hauberk.attacks.poisons.lookalike import Lookalike
from hauberk.attacks.poisons.sos import SOS
from hauberk.attacks.poisons.style import Style
from hauberk.attacks.poisons.syntactic import Syntactic

POISONS: dict[str, type[DataPoison]] = {
    "bad_char": BadChar,
    "bad_sentence": BadSentence,
    "bad_word": BadWord,
    "combination": Combination,
    "distributed": Distributed,
    "edge_case": EdgeCase,
    "false_fact": FalseFact,
    "label_flip": LabelFlip,
    "lookalike": Lookalike,
    "sos": SOS,
    "style": Style,
    "syntactic": Syntactic,
}

__all__ = [
    "POISONS",
    "Poison",
    "AttackerContext",
    "BadChar",
    "BadSentence",
    "BadWord",
    "Combination",
    "DataPoison",
    "Distributed",
    "EdgeCase",
    "FalseFact",
    "LabelFlip",
    "Lookalike",
    "SOS",
    "Style",
    "Syntactic",
]
