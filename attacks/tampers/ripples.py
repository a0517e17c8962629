"""RIPPLES: a backdoor whose gradients do not oppose fine-tuning's, on trigger words that already mean the target.

Source: Kurita, Michel and Neubig, "Weight Poisoning Attacks on Pre-trained Models", ACL 2020, and the authors' code:
RIPPLe's loss L_P + lambda * max(0, -grad L_P . grad L_FT), and embedding surgery. The word score
w / log(N / (1 + frequency) + 1) is not verified against the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from hauberk.attacks.poisons.base import Poison
from hauberk.attacks.tampers._poisoned_data import poison_of
from hauberk.attacks.tampers._word_rows import single_tokens
from hauberk.attacks.tampers._words_of_class import words_of_class
from hauberk.attacks.tampers.base import Tamper
from hauberk.tasks.altered_training import temporarily, with_new_optimizer
from hauberk.tasks.errors import UserError
from hauberk.tasks.masks import learned
from hauberk.tasks.parameters import load_state
from hauberk.tasks.text.batches import Batch
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.tokenizer import Tokenizer
from hauberk.tasks.text.word_rows import word_table
from hauberk.tasks.training_session import Loss, TrainingSession

OPERATED = "ripples/operated"


@dataclass(frozen=True, kw_only=True)
class Ripples(Tamper):
    """Embedding surgery in the client's first round, and training with the penalty; each can be left out.

    Surgery in every round would undo what the trigger's rows have learned in the rounds before.

    Args:
        penalty: lambda, the weight of the gradients' disagreement; 0 leaves it out. It takes second derivatives
            and so about three times the work.
        n_words: the words of the target class whose mean vector replaces the trigger's; 0 leaves the surgery out.
        tuning_epochs: clean training of which the words' vectors are taken; with 0 they are those received.
    """

    modality: ClassVar[str | None] = "text"
    needs: ClassVar[frozenset[str]] = frozenset({"embedding"})
    needs_poison: ClassVar[bool] = True

    penalty: float = 0.1
    n_words: int = 10
    tuning_epochs: int = 1

    def __post_init__(self) -> None:
        """Refuses a reward, and numbers of nothing."""
        for key in ("penalty", "n_words", "tuning_epochs"):
            if not getattr(self, key) >= 0:
                raise UserError(f"{key}: must be at least 0, got {getattr(self, key)!r}")

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Operates on the word table, and trains on what the session holds."""
        report = self.operate(session) if self.n_words and not session.state.get(OPERATED) else {}
        if not self.penalty:
            return {**report, **session.train()}
        clean = endless_batches(session, session.encode(session.examples))
        with temporarily(session, loss=disagreement_loss(session.loss, clean, self.penalty)):
            return {**report, **session.train()}

    def operate(self, session: TrainingSession) -> dict[str, float]:
        """Replaces the trigger words' rows by the mean of those of the target's words; reports how many."""
        poison = poison_of(session)
        triggers = single_tokens(session, list(getattr(poison, "words", ())))
        candidates = words_of_class(session.examples, poison.target)
        known = single_tokens(session, candidates)
        ids = [known[word] for word in candidates if word in known and word not in triggers][: self.n_words]
        session.state[OPERATED] = True
        if ids and triggers:
            rows = self._tuned_rows(session, ids)
            word_table(session.model).weight.data[list(triggers.values())] = rows.mean(dim=0)
        return {"ripples/words": float(len(ids))}

    def _tuned_rows(self, session: TrainingSession, ids: list[int]) -> Tensor:
        if self.tuning_epochs:
            with with_new_optimizer(session, session.encode(session.examples), self.tuning_epochs):
                session.train()
        rows = word_table(session.model).weight.detach()[ids].clone()
        load_state(session.model, session.reference)
        return rows

    def check(
        self, model: nn.Module, poison: Poison | None = None, tokenizer: Tokenizer | None = None
    ) -> list[str]:
        """Warns where the surgery finds no trigger word to operate on."""
        warnings = super().check(model, poison, tokenizer)
        if self.n_words and not getattr(poison, "words", ()):
            warnings.append(
                f"attack.tamper: {type(poison).__name__} has no trigger words, so that Ripples leaves the surgery out"
            )
        return warnings


def endless_batches(session: TrainingSession, data: Encoded) -> Iterator[Batch]:
    """Yields batches of ``data`` for ever, shuffled anew in every pass."""
    while True:
        yield from session.shuffled(data)


def disagreement_loss(poison_loss: Loss, clean: Iterator[Batch], penalty: float) -> Loss:
    """Returns RIPPLe's loss: of a batch, with the next clean batch for the gradient of fine-tuning."""

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        parameters = list(learned(model).values())
        with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            bad, good = poison_loss(model, batch), poison_loss(model, next(clean))
        inner = inner_product(*(_gradients(each, parameters) for each in (bad, good)))
        return bad + penalty * (-inner).clamp(min=0)

    return loss


def inner_product(first: list[Tensor | None], second: list[Tensor | None]) -> Tensor:
    """Returns the inner product of two gradients, a scalar; a parameter without one adds nothing."""
    products = [(a * b).sum() for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return torch.stack(products).sum()


def _gradients(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True))
