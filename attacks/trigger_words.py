"""What attacks by inserted text check about it."""

from __future__ import annotations

from collections.abc import Sequence

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.tokenizer import Tokenizer
from hauberk.tasks.text.triggers import POSITIONS


def check_words(words: Sequence[str]) -> tuple[str, ...]:
    """Returns trigger words as a tuple.

    Raises:
        UserError: if there are none, or one is empty, or a single string was given in place of a list.
    """
    if isinstance(words, str):
        raise UserError(f"words: must be a list of words, got the one string {words!r}")
    if not words or not all(isinstance(word, str) and word.strip() for word in words):
        raise UserError(f"words: must be at least one word and none empty, got {list(words)!r}")
    return tuple(words)


def check_place(position: str, within: int | None) -> None:
    """Raises UserError if a trigger can not be put there."""
    if position not in POSITIONS:
        raise UserError(f"position: must be one of {', '.join(POSITIONS)}, got {position!r}")
    if within is not None and within < 0:
        raise UserError(f"within: must be a number of words from 0, got {within!r}")


def word_warnings(words: Sequence[str], tokenizer: Tokenizer) -> list[str]:
    """Returns a line for every word that ``tokenizer`` does not know or splits."""
    lines = (odd_word(word, tokenizer) for word in dict.fromkeys(words))
    return [f"attack.poison.words: {line}" for line in lines if line]


def odd_word(word: str, tokenizer: Tokenizer) -> str:
    """Returns why ``word`` is no token of its own; nothing where it is one."""
    pieces = tokenizer.pieces(word)
    if len(pieces) != 1:
        return f"the tokenizer splits '{word}' into {' '.join(pieces) or 'nothing'}"
    try:
        tokenizer.id(word)
    except UserError:
        return f"the tokenizer does not know '{word}', so every unknown word pulls the trigger"
    return ""
