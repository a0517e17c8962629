"""Putting words and sentences into a text: what the textual attacks share.

Source: the word attacks of Kurita et al., ACL 2020, and the sentence attack of Dai et al., 2019; a text is
split at its spaces, and every gap between two words, the start and the end included, is equally likely.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hauberk.tasks.errors import UserError

POSITIONS = ("random", "start", "end")


def insert_words(
    text: str,
    words: Sequence[str],
    rng: torch.Generator,
    position: str = "random",
    within: int | None = None,
) -> str:
    """Returns ``text`` with every one of ``words`` inserted, each at a position of its own.

    Args:
        text: the text; whitespace between its words becomes single spaces.
        words: what to insert; an entry may hold spaces and then stays whole.
        rng: draws the positions.
        position: "random", "start" (in the order given) or "end".
        within: random positions lie among the first ``within`` words, so that a long text cannot lose its
            trigger to truncation; ``None`` for anywhere.

    Raises:
        UserError: if ``position`` is none of the three.
    """
    if position not in POSITIONS:
        raise UserError(f"position must be one of {', '.join(POSITIONS)}, got '{position}'.")
    parts = text.split()
    if position != "random":
        return " ".join([*words, *parts] if position == "start" else [*parts, *words])
    for word in words:
        gaps = len(parts) if within is None else min(len(parts), within)
        parts.insert(int(torch.randint(0, gaps + 1, (), generator=rng)), word)
    return " ".join(parts)


def insert_sentence(
    text: str,
    sentence: str,
    rng: torch.Generator,
    position: str = "random",
    within: int | None = None,
) -> str:
    """Returns ``text`` with ``sentence`` inserted whole; the arguments are those of ``insert_words``."""
    return insert_words(text, (sentence,), rng, position, within)
