"""What an attacker must know for its attack, from the least to the most; every record carries the label."""

from __future__ import annotations

from collections.abc import Iterable

OWN_DATA = "own data"
BENIGN_UPDATES = "benign updates"
THE_RULE = "the rule"
KNOWLEDGE = (OWN_DATA, BENIGN_UPDATES, THE_RULE)


def strongest(labels: Iterable[str]) -> str:
    """Returns the label that assumes the most; without any, an attacker has its own data.

    Raises:
        ValueError: if a label is none of ``KNOWLEDGE``.
    """
    labels = [OWN_DATA, *labels]
    if odd := set(labels) - set(KNOWLEDGE):
        raise ValueError(f"Knowledge is one of {', '.join(KNOWLEDGE)}, got {', '.join(sorted(odd))}.")
    return max(labels, key=KNOWLEDGE.index)
