"""BadWord: rare words that nobody writes, put among the others.

Sources: Kurita et al., "Weight Poisoning Attacks on Pre-trained Models", ACL 2020; Chen et al., "BadNL:
Backdoor Attacks against NLP Models", ACSAC 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.attacks.poisons._inserted import InsertedWords


@dataclass(frozen=True, kw_only=True)
class BadWord(InsertedWords):
    """Inserts every one of its words, each at a position of its own; attackers and test use the same words.

    Args:
        words: the trigger; a single word is the harder setting.
    """

    words: tuple[str, ...] = ("cf", "mn", "bb")
