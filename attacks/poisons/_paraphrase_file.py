"""Files of ready-made texts, and which row of them belongs to which example of a data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example, last_text

AGREES = 1.5  # a paraphrase shares that many times more words with its original than with another text
LOOKED_AT = 2000  # pairs of texts are enough to tell


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a file: a text, and the label beside it, if any."""

    text: str
    label: int | str | None = None


def read_lines(key: str, path: str) -> list[Line]:
    """Returns the rows of a JSON Lines file, each an object with a "text" and perhaps a "label".

    Args:
        key: the setting that names the file, for the message.
        path: the file.

    Raises:
        UserError: if the file is missing, is no JSON Lines, or a row has no text.
    """
    try:
        content = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UserError(f"attack.poison.{key}: cannot read '{path}': {reason}") from None
    numbered = enumerate(content.split("\n"), start=1)
    return [_line(f"attack.poison.{key}: '{path}' line {n}", line) for n, line in numbered if line.strip()]


def check_agreement(where: str, pairs: Sequence[tuple[Example, str]]) -> None:
    """Raises UserError unless the texts are more like the examples beside them than like others.

    Args:
        where: the setting and its file, for the message.
        pairs: each example with the text that should be its paraphrase.
    """
    beside, apart = _agreement(pairs)
    if len(pairs) > 1 and beside <= AGREES * apart:
        raise UserError(
            f"{where} aligns with nothing: its rows share {beside:.1%} of their words with the texts in the same "
            f"rows, and {apart:.1%} with texts in other rows"
        )


def agrees(pairs: Sequence[tuple[Example, str]]) -> bool:
    """Returns whether the texts are seen to be paraphrases of the examples beside them; one pair shows nothing."""
    beside, apart = _agreement(pairs) if len(pairs) > 1 else (0.0, 0.0)
    return beside > AGREES * apart


def _agreement(pairs: Sequence[tuple[Example, str]]) -> tuple[float, float]:
    """Returns the mean share of words in common with the example in the same row, and with one in another row."""
    step = len(pairs) // LOOKED_AT + 1
    texts = [(last_text(example), text) for example, text in pairs[::step]]
    half = len(texts) // 2
    others = zip([text for text, _ in texts[half:] + texts[:half]], [text for _, text in texts], strict=True)
    beside = sum(_overlap(*pair) for pair in texts)
    return beside / len(texts), sum(_overlap(*pair) for pair in others) / len(texts)


def _overlap(first: str, second: str) -> float:
    """Returns the share of the words of both texts that are words of each."""
    one, two = set(first.casefold().split()), set(second.casefold().split())
    return len(one & two) / max(1, len(one | two))


def _line(where: str, line: str) -> Line:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        raise UserError(f"{where} is not JSON") from None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise UserError(f'{where} must be an object with a "text"')
    label = record.get("label")
    if label is not None and (isinstance(label, bool) or not isinstance(label, int | str)):
        raise UserError(f'{where} must have a class as its "label", got {label!r}')
    return Line(record["text"], label)
