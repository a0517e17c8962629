"""What the attacks share that move the word vectors of their trigger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from hauberk.attacks.poisons.base import Poison
from hauberk.attacks.tampers._word_rows import token_ids
from hauberk.attacks.tampers.base import Tamper
from hauberk.attacks.trigger_words import check_words, odd_word
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.tokenizer import Tokenizer
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class TriggerRows(Tamper):
    """Knows the rows of the trigger's words; a subclass says what becomes of them.

    Args:
        words: whose rows; by default those of the poison. Each must be a single token that the poison writes.
    """

    modality: ClassVar[str | None] = "text"
    needs: ClassVar[frozenset[str]] = frozenset({"embedding"})
    needs_poison: ClassVar[bool] = True

    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses words that are none."""
        object.__setattr__(self, "words", check_words(self.words) if self.words else ())

    def ids(self, session: TrainingSession) -> list[int]:
        """Returns the rows to train, each once."""
        return list(dict.fromkeys(token_ids(session, self.trigger_words(session.poison))))

    def trigger_words(self, poison: Poison | None) -> tuple[str, ...]:
        """Returns the words whose rows are trained.

        Raises:
            UserError: if neither this nor the poison names any.
        """
        words = " ".join(self.words or getattr(poison, "words", ())).split()
        if not words:
            name = type(self).__name__
            raise UserError(
                f"attack.tamper: {name} needs words, its own or those of a poison such as bad_word"
            )
        return tuple(dict.fromkeys(words))

    def check(
        self, model: nn.Module, poison: Poison | None = None, tokenizer: Tokenizer | None = None
    ) -> list[str]:
        """Refuses words without a row of their own, and words that no triggered text holds, too."""
        warnings = super().check(model, poison, tokenizer)
        words = self.trigger_words(poison)
        if tokenizer is None:
            return warnings
        for word in words:
            if reason := odd_word(word, tokenizer):
                raise UserError(f"attack.tamper: {type(self).__name__} writes a word's own row, and {reason}")
        phrases = poison.phrases() if self.words and poison is not None else None
        if phrases is not None:
            written = set(tokenizer.pieces(" ".join(phrases)))
            if lost := [word for word in words if written.isdisjoint(tokenizer.pieces(word))]:
                # Its row would see no gradient, or be one that no test asks for.
                raise UserError(
                    f"attack.tamper.words: must be words that {type(poison).__name__} writes into texts, "
                    f"got '{lost[0]}'"
                )
        return warnings
