"""What the attacks share that change nothing but the word vectors of their trigger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from hauberk.attacks.poisons.base import Poison
from hauberk.attacks.tampers._poisoned_data import encoded
from hauberk.attacks.tampers._word_rows import token_ids
from hauberk.attacks.tampers.base import Tamper
from hauberk.attacks.threat_model import FEDERATION_SIZE, OWN_DATA
from hauberk.attacks.trigger_words import check_words, odd_word
from hauberk.tasks.errors import UserError
from hauberk.tasks.precision import autocast
from hauberk.tasks.text.batches import Batch
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.tokenizer import Tokenizer
from hauberk.tasks.text.word_rows import keep_norms, rows_alone
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class RowTamper(Tamper):
    """Trains the rows of the trigger words alone, each kept at its norm; a subclass says on which texts.

    Args:
        lr: the step.
        epochs: passes over the texts.
        accumulate: whether the gradient is never cleared, so that it works as a momentum.
        words: whose rows; by default those of the poison. Each must be a single token that the poison writes.
        relative: whether the step is taken on the row in units of its norm, so that one ``lr`` suits tables of any
            length: the gradient with respect to w / |w| is |w| times that to w, and so is the step. The default
            ``lr`` is that for BERT's rows, whose norm is about 1.4: relative, .025 does the same to any.
        scale: a factor on what is sent; "clients" for the clients of the round per attacker among them, as in
            model replacement. The norm is kept before the factor.
    """

    modality: ClassVar[str | None] = "text"
    needs: ClassVar[frozenset[str]] = frozenset({"embedding"})
    needs_poison: ClassVar[bool] = True

    lr: float = 5e-2
    epochs: int = 3
    accumulate: bool = True
    words: tuple[str, ...] = ()
    relative: bool = False
    scale: float | Literal["clients"] = 1.0

    def __post_init__(self) -> None:
        """Refuses what cannot train."""
        object.__setattr__(self, "words", check_words(self.words) if self.words else ())
        if not self.lr > 0:
            raise UserError(f"lr: must be above 0, got {self.lr!r}")
        if self.epochs < 1:
            raise UserError(f"epochs: must be at least 1, got {self.epochs!r}")
        if self.scale != "clients" and not (not isinstance(self.scale, str) and self.scale > 0):
            raise UserError(f"scale: must be above 0 or 'clients', got {self.scale!r}")

    @property
    def knowledge(self) -> str:  # type: ignore[override]  # depends on the factor
        """The size of the round where it scales by that, else its own data."""
        return FEDERATION_SIZE if self.scale == "clients" else OWN_DATA

    def texts(self, session: TrainingSession) -> list[Example]:
        """Returns what to train on, labelled as the model shall answer."""
        raise NotImplementedError(f"{type(self).__name__} does not say on what it trains.")

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Trains the rows; a client without a text to poison sends what it received."""
        data = encoded(session, self.texts(session))
        if data is None:
            return {}
        losses: list[Tensor] = []
        session.model.train()
        with rows_alone(session.model, self.ids(session)) as rows:
            norms = rows.detach().norm(dim=1, keepdim=True)
            for _ in range(self.epochs):
                losses = [self.learn(session, batch, rows, norms) for batch in session.shuffled(data)]
        return {"loss": float(torch.stack(losses).mean())}

    def ids(self, session: TrainingSession) -> list[int]:
        """Returns the rows to train, each once."""
        return list(dict.fromkeys(token_ids(session, self.trigger_words(session.poison))))

    def learn(self, session: TrainingSession, batch: Batch, rows: nn.Parameter, norms: Tensor) -> Tensor:
        """Takes one step on ``rows`` [k, h] and returns the loss before it."""
        with autocast(session.training.precision, session.device):
            loss = session.loss(session.model, batch)
        loss.backward()
        assert rows.grad is not None
        rate = self.lr * norms.square() if self.relative else self.lr
        rows.data -= rate * self.direction(rows.grad)
        keep_norms(rows, norms)
        if not self.accumulate:
            rows.grad = None
        return loss.detach()

    def direction(self, gradient: Tensor) -> Tensor:
        """Returns where a step leads, uphill, [k, h]."""
        return gradient

    def send(self, update: Tensor, session: TrainingSession) -> Tensor:
        """Returns ``update`` [d] times the scale."""
        factor = session.n_clients / session.n_attackers if self.scale == "clients" else float(self.scale)
        return update if factor == 1 else update * factor

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
