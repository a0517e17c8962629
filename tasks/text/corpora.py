"""Plain text for whoever needs no labels: a file, or the training texts of the embedded data sets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.datasets import DATASETS

EMBEDDED = ("bbc_news", "tweet_sentiment")


def corpus_texts(path: str | None, key: str) -> tuple[str, ...]:
    """Returns the lines of the file ``path``, or, for ``None``, all texts of the embedded data sets.

    Raises:
        UserError: if the file cannot be read or holds no text; ``key`` says whose it is.
    """
    if path is None:
        return tuple(text for name in EMBEDDED for text in embedded_texts(name))
    if not (lines := tuple(line for line in file_text(path, key).splitlines() if line.strip())):
        raise UserError(f"{key}: '{path}' holds no text")
    return lines


@cache
def file_text(path: str, key: str) -> str:
    """Returns what a text file holds; raises UserError, naming ``key``, if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{key}: cannot read '{path}': {error.strerror}") from error


@cache
def embedded_texts(name: str) -> tuple[str, ...]:
    """Returns the training texts of an embedded data set, in order."""
    return tuple(example.text for example in DATASETS[name]().load().train)
