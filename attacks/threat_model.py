"""What an attacker must know for its attack, from the least to the most; every record carries the label."""

from __future__ import annotations

from collections.abc import Iterable

OWN_DATA = "own data"
FEDERATION_SIZE = "federation size"  # how many clients a round asks, and how many of them attack
ALL_PARAPHRASES = "all paraphrases"  # ready-made ones of every client's training texts
BENIGN_UPDATES = "benign updates"
THE_RULE = "the rule"  # with its state and its own clean update, but not what it draws at random
KNOWLEDGE = (OWN_DATA, FEDERATION_SIZE, ALL_PARAPHRASES, BENIGN_UPDATES, THE_RULE)


def strongest_knowledge(labels: Iterable[str]) -> str:
    """Returns the label that assumes the most; without any, an attacker has its own data.

    Raises:
        ValueError: if a label is none of ``KNOWLEDGE``.
    """
    labels = [OWN_DATA, *labels]
    if odd := set(labels) - set(KNOWLEDGE):
        raise ValueError(f"Knowledge is one of {', '.join(KNOWLEDGE)}, got {', '.join(sorted(odd))}.")
    return max(labels, key=KNOWLEDGE.index)


def declared_knowledge(labels: Iterable[str]) -> str:
    """Returns the strongest label, and beside it what it does not imply.

    Whoever has every client's paraphrases need not know how many clients a round asks; whoever sees their updates
    does, but need not have their paraphrases.

    Raises:
        ValueError: if a label is none of ``KNOWLEDGE``.
    """
    labels = list(labels)
    most = strongest_knowledge(labels)
    beside = FEDERATION_SIZE if most == ALL_PARAPHRASES else ALL_PARAPHRASES
    return f"{most} and {beside}" if beside in labels else most


def sees_benign_updates(label: str) -> bool:
    """Returns whether an attacker with the knowledge ``label`` has the honest clients' updates before it."""
    return KNOWLEDGE.index(label) >= KNOWLEDGE.index(BENIGN_UPDATES)
