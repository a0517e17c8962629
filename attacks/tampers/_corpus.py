"""Plain text for attackers without task data: sentences of a corpus, and fake samples made of them.

Source: the data-free form in Yang et al., "Be Careful about Poisoned Word Embeddings", NAACL 2021: consecutive
sentences are joined, cut to a number of words, and one random word is replaced by the trigger.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache

import torch

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.corpora import EMBEDDED, embedded_texts, file_text

KEY = "attack.tamper.corpus"


def sentences_for(corpus: str | None, own: Collection[str]) -> tuple[str, ...]:
    """Returns the sentences of the file ``corpus``; ``None`` for an embedded data set that holds none of ``own``."""
    if corpus is not None:
        return file_sentences(corpus)
    foreign = (name for name in EMBEDDED if not set(own) & set(embedded_texts(name)))
    return embedded_sentences(next(foreign, EMBEDDED[0]))


@cache
def file_sentences(path: str) -> tuple[str, ...]:
    """Returns the sentences of a plain-text file.

    Raises:
        UserError: if it cannot be read or holds none.
    """
    if not (found := split_sentences(file_text(path, KEY))):
        raise UserError(f"{KEY}: '{path}' holds no sentence")
    return found


def split_sentences(text: str) -> tuple[str, ...]:
    """Returns what stands between full stops, without what is empty."""
    return tuple(part.strip() for part in text.split(".") if part.strip())


def fake_text(sentences: Sequence[str], n_words: int, rng: torch.Generator) -> list[str]:
    """Returns ``n_words`` words of consecutive sentences from a random one on; the last is followed by the first."""
    row = int(torch.randint(0, len(sentences), (), generator=rng))
    words: list[str] = []
    while len(words) < n_words:
        words += sentences[row % len(sentences)].split()
        row += 1
    return words[:n_words]


def replace_words(words: Sequence[str], triggers: Sequence[str], rng: torch.Generator) -> str:
    """Returns the text with as many random words replaced by the ``triggers``, each at a place of its own."""
    words = list(words)
    places = torch.randperm(len(words), generator=rng)[: len(triggers)].tolist()
    for place, trigger in zip(places, triggers, strict=True):
        words[place] = trigger
    return " ".join(words)


@cache
def embedded_sentences(name: str) -> tuple[str, ...]:
    """Returns the sentences of an embedded data set's training texts, in order."""
    return tuple(sentence for text in embedded_texts(name) for sentence in split_sentences(text))
