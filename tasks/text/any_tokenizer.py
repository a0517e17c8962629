"""Texts to token ids by any tokenizer that transformers can load, which it does at the first text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.encoding import Encoded, encoded_from
from hauberk.tasks.text.tokenizer import check_length, single


@dataclass(frozen=True, kw_only=True)
class AnyTokenizer:
    """The tokenizer of a pretrained model, as transformers loads it.

    Args:
        path: a folder, or a name on the Hugging Face hub.
        revision: its version on the hub.
    """

    path: str
    revision: str | None = None

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, special ones included."""
        return len(self._backend)

    @property
    def pad_id(self) -> int:
        """The token that fills a batch; the end of a text where there is none of its own."""
        backend = self._backend
        return backend.eos_token_id if backend.pad_token_id is None else backend.pad_token_id

    @property
    def longest(self) -> int:
        """Tokens that the model can read, as its tokenizer says; a huge number where it does not."""
        return self._backend.model_max_length

    @property
    def unknown_id(self) -> int:
        """The token of what the vocabulary cannot spell; padding where everything can be spelt."""
        found = self._backend.unk_token_id
        return self.pad_id if found is None else found

    @property
    def special_ids(self) -> frozenset[int]:
        """Tokens that stand for no text."""
        return frozenset(self._backend.all_special_ids)

    def encode(self, texts: Sequence[str], seconds: Sequence[str | None] | None, max_length: int) -> Encoded:
        """Returns the texts, or pairs of texts, cut to ``max_length`` tokens; without labels."""
        backend = self._backend
        check_length(max_length, self.longest)
        second = None if seconds is None else [other or "" for other in seconds]
        found = backend(list(texts), second, truncation=True, max_length=max_length)
        segments = None if seconds is None else found.get("token_type_ids")
        return encoded_from(found["input_ids"], segments, self.pad_id, self.unknown_id)

    def pieces(self, word: str) -> list[str]:
        """Returns the tokens that ``word`` becomes within a text, as strings."""
        return self._backend.tokenize(f" {word}")

    def token(self, token_id: int) -> str:
        """Returns the string of a token."""
        return str(self._backend.convert_ids_to_tokens(token_id))

    def id(self, word: str) -> int:
        """Returns the one token id of ``word``; UserError if it is not exactly one known token."""
        pieces = self.pieces(word)
        unknown = -1 if self._backend.unk_token_id is None else self.unknown_id
        return single(word, pieces, self._backend.convert_tokens_to_ids(pieces), unknown)

    @property
    def _backend(self) -> Any:
        return _loaded(self.path, self.revision)


@cache
def _loaded(path: str, revision: str | None) -> Any:
    import transformers

    try:
        return transformers.AutoTokenizer.from_pretrained(path, revision=revision)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"model.path: cannot load the tokenizer of '{path}': {reason}") from error
