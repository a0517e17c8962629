"""Tamper, the second kind of attack: a client lies by how it trains and by what it makes of the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from hauberk.attacks.poisons.base import Poison
from hauberk.attacks.threat_model import OWN_DATA
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.tokenizer import Tokenizer
from hauberk.tasks.training_session import TrainingSession

Reply = TypeVar("Reply")  # `hauberk.clients.worker.ClientReply`, which lives above this package


@dataclass(frozen=True, kw_only=True)
class Tamper:
    """Trains, and changes what is sent; by default neither.

    Attributes:
        modality: what data a task must have for it, as `Task.modality` says it; None for any.
        needs: attributes that the model must have, such as "embedding" or "layers".
        needs_poison: whether it works on the trigger of a Poison and can do nothing without one.
        whole_table: ``False`` promises that, beside the honest loop, training reads nothing of the word
            embeddings: then rows that no text of ``session.data`` uses may be left out while it trains.
    """

    modality: ClassVar[str | None] = None
    knowledge: ClassVar[str] = OWN_DATA
    needs: ClassVar[frozenset[str]] = frozenset()
    needs_poison: ClassVar[bool] = False
    whole_table: ClassVar[bool] = True

    def train(self, session: TrainingSession) -> dict[str, float]:
        """Trains ``session.model`` in place and returns scalars worth logging."""
        return session.train()

    def send(self, update: Tensor, session: TrainingSession) -> Tensor:
        """Returns what to send in place of ``update``, float32 [d]; model and reference are whole here."""
        return update

    def answer(self, reply: Reply, session: TrainingSession) -> Reply:
        """Returns what to answer in place of ``reply``: the names, shapes and counts in it are a liar's to choose."""
        return reply

    def check(
        self, model: nn.Module, poison: Poison | None = None, tokenizer: Tokenizer | None = None
    ) -> list[str]:
        """Returns warnings, one line each, before anything runs.

        Args:
            model: the model to be attacked.
            poison: what the attack puts into texts, if anything.
            tokenizer: what will read the triggers, if that is known.

        Raises:
            UserError: if the model or the attack lacks what this works on.
        """
        name = type(self).__name__
        for feature in sorted(self.needs):
            if getattr(model, feature, None) is None:
                raise UserError(
                    f"attack.tamper: {name} needs a model with '{feature}', and {type(model).__name__} has none"
                )
        table: Any = getattr(model, "embedding", None)
        if (
            "embedding" in self.needs
            and isinstance(table, nn.Module)
            and not all(p.requires_grad for p in table.parameters())
        ):
            # Frozen numbers do not travel, but a worker's next client would find them changed.
            raise UserError(
                f"attack.tamper: {name} needs word vectors that are trained, got frozen ones (model.lora)"
            )
        if self.needs_poison and poison is None:
            raise UserError(
                f"attack.tamper: {name} needs a poison whose trigger it learns, and attack.poison is absent"
            )
        return []
