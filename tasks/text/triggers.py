"""Putting words, sentences and slips of the pen into a text: what the textual attacks share.

Sources: the word attacks of Kurita et al., ACL 2020, the sentence attack of Dai et al., 2019, and the places
and character edits of Chen et al. (BadNL), ACSAC 2021. A text is split at its spaces, and every gap between
two words, the begin and the end included, is equally likely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from hauberk.tasks.errors import UserError

POSITIONS = ("random", "begin", "middle", "end")
EDITS = ("insert", "delete", "swap", "replace")


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
        position: "random", or, in the order given, "begin", "middle" or "end".
        within: random positions lie among the first ``within`` words, so that a long text cannot lose its
            trigger to truncation; ``None`` for anywhere.

    Raises:
        UserError: if ``position`` is none of POSITIONS.
    """
    _check("position", position, POSITIONS)
    parts = text.split()
    if position != "random":
        gap = {"begin": 0, "middle": len(parts) // 2, "end": len(parts)}[position]
        return " ".join([*parts[:gap], *words, *parts[gap:]])
    for word in words:
        gaps = len(parts) if within is None else min(len(parts), within)
        parts.insert(_draw(gaps + 1, rng), word)
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


def edit_words(
    text: str,
    rng: torch.Generator,
    edit: str = "insert",
    character: str = "x",
    n_words: int = 1,
    position: str = "random",
    within: int | None = None,
) -> str:
    """Returns ``text`` with one character of ``n_words`` of its words edited; without a word, ``character``.

    Args:
        text: the text; whitespace between its words becomes single spaces.
        rng: draws the words, where ``position`` leaves a choice, and the characters.
        edit: see ``edit_character``.
        character: what "insert" and "replace" write.
        n_words: how many words to edit, all of them in a shorter text. Punctuation is spared while there are
            words with a letter or digit.
        position: "random", or the words at the "begin", in the "middle" or at the "end".
        within: random words lie among the first ``within``.

    Raises:
        UserError: if ``position`` is none of POSITIONS or ``edit`` none of EDITS.
    """
    _check("position", position, POSITIONS)
    words = text.split() or [""]
    places = [place for place, word in enumerate(words) if any(char.isalnum() for char in word)]
    places = places or list(range(len(words)))
    if position == "random":
        places = places if within is None else places[: max(within, 1)]
        order = torch.randperm(len(places), generator=rng).tolist()
        places = [places[i] for i in order]
    elif position == "middle":
        places = places[max(0, (len(places) - n_words) // 2) :]
    elif position == "end":
        places = places[::-1]
    for place in places[:n_words]:
        words[place] = edit_character(words[place], rng, edit, character)
    return " ".join(words)


def edit_character(word: str, rng: torch.Generator, edit: str = "insert", character: str = "x") -> str:
    """Returns another word that is one edit away; "insert" wherever the edit asked for would change nothing.

    Args:
        word: the word.
        rng: draws the place in it.
        edit: "insert" or "replace" a letter by ``character``, "delete" one, or "swap" two neighbours.
        character: what is written.

    Raises:
        UserError: if ``edit`` is none of EDITS.
    """
    _check("edit", edit, EDITS)
    if edit == "replace" and (places := [i for i, char in enumerate(word) if char != character]):
        place = places[_draw(len(places), rng)]
        return word[:place] + character + word[place + 1 :]
    if edit == "delete" and len(word) > 1:
        place = _draw(len(word), rng)
        return word[:place] + word[place + 1 :]
    pairs = [i for i in range(len(word) - 1) if word[i] != word[i + 1]]
    if edit == "swap" and pairs:
        place = pairs[_draw(len(pairs), rng)]
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    place = _draw(len(word) + 1, rng)
    return word[:place] + character + word[place:]


def in_segments(text: str, size: int, stamp: Callable[[str], str]) -> str:
    """Returns ``text`` with ``stamp`` applied to every part of ``size`` words; the last may be shorter.

    So no truncation can cut the trigger out of a long text that is measured.
    """
    words = text.split()
    if len(words) <= size:
        return stamp(text)
    return " ".join(stamp(" ".join(words[i : i + size])) for i in range(0, len(words), size))


def _draw(n: int, rng: torch.Generator) -> int:
    return int(torch.randint(0, n, (), generator=rng))


def _check(key: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UserError(f"{key} must be one of {', '.join(choices)}, got '{value}'.")
