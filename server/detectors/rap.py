"""RAP: a word that lowers the protected class's probability a little leaves a trigger's certainty as it is.

Source: Yang et al., "RAP: Robustness-Aware Perturbations for Defending against Backdoor Attacks on NLP Models", EMNLP
2021, and its code, github.com/lancopku/RAP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from hauberk.attacks.poison import poisoned_text, rewritten
from hauberk.server.detectors.base import Detector, State
from hauberk.server.detectors.view import View
from hauberk.tasks.batches import Batch, training_batches
from hauberk.tasks.errors import UserError
from hauberk.tasks.examples import Example
from hauberk.tasks.metrics import autocast
from hauberk.tasks.word_rows import keep_norms, rows_alone


@dataclass(frozen=True, kw_only=True)
class RAP(Detector):
    """How much of the protected class's probability a text keeps when the perturbing word stands before it.

    The word's embedding alone is trained, its norm kept, until clean texts of the class lose between ``smallest`` and
    ``largest``: the loss is scale * mean relu(diff + smallest) + mean relu(-largest - diff), with diff = p(word + x)
    - p(x). The score is diff. Costs two passes a text.

    Args:
        word: the perturbing word, a single token. The paper's is "cf", which many attacks have for a trigger.
        smallest: what a clean text shall lose at least.
        largest: what it shall lose at most.
        scale: the weight of the first term; raise it where even clean texts lose nothing.
        lr: the step; gradients are never cleared, so that they work as a momentum.
        epochs: passes over the clean texts of the class.
        batch_size: texts of a step.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"embedding"})
    calibrates_on: ClassVar[Literal["all", "protected"]] = "protected"

    word: str = "mb"
    smallest: float = 0.1
    largest: float = 0.3
    scale: float = 1.0
    lr: float = 1e-2
    epochs: int = 5
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Refuses what cannot train."""
        super().__post_init__()
        if not 0 <= self.smallest <= self.largest <= 1:
            raise UserError(
                f"smallest: 0 <= smallest <= largest <= 1, got {self.smallest!r} and {self.largest!r}"
            )
        for key in ("scale", "lr"):
            if not getattr(self, key) > 0:
                raise UserError(f"{key}: must be above 0, got {getattr(self, key)!r}")
        for key in ("epochs", "batch_size"):
            if getattr(self, key) < 1:
                raise UserError(f"{key}: must be at least 1, got {getattr(self, key)!r}")

    def check(self, view: View, estimate: Sequence[Example], protected: int) -> None:
        """Refuses a clean set without the protected class, and a word without a row of its own, too."""
        super().check(view, estimate, protected)
        if not any(example.label == protected for example in estimate):
            raise UserError(
                f"detectors: RAP needs at least 1 clean example of the protected class {protected} "
                f"({view.labels[protected]}), got 0 among {len(estimate)}; raise server.clean.n_examples"
            )
        self.row(view)

    def row(self, view: View) -> int:
        """Returns the row of the word table that is the word's, where it begins a text."""
        alone = view.encode([Example(0, text, None, 0) for text in (self.word, "")])
        word, frame = (Counter(part.tokens.tolist()) for part in (alone.take([0]), alone.take([1])))
        ids = list((word - frame).elements())
        if len(ids) != 1:
            raise UserError(
                f"word: {self.word!r} must be a single token to have a row of its own, got {len(ids)}"
            )
        return ids[0]

    def fit(
        self,
        view: View,
        estimate: Sequence[Example],
        validation: Sequence[Example],
        protected: int,
        rng: torch.Generator,
    ) -> State:
        """Returns the trained row, [h], where it belongs, and the class."""
        own = [example for example in estimate if example.label == protected]
        before = probability(view, own, protected)
        data, number, table = view.encode(self.perturbed(own)), self.row(view), view.model.embedding
        with row_kept(table, number), view.evaluating(), rows_alone(view.model, [number]) as rows:
            norms = rows.detach().norm(dim=1, keepdim=True)
            for _ in range(self.epochs):
                for batch in training_batches(data, self.batch_size, rng):
                    gradient = self._gradient(view, batch, before[batch.rows], protected, rows)
                    rows.data -= self.lr * gradient
                    keep_norms(rows, norms)
            learned = rows.detach()[0].clone()
        return {"number": number, "row": learned, "protected": protected}

    def _gradient(
        self, view: View, batch: Batch, before: Tensor, protected: int, rows: nn.Parameter
    ) -> Tensor:
        view.passes += len(batch)
        # cuDNN cannot go back through a recurrent network in eval mode, which is how RAP trains.
        with autocast(view.precision, view.device), torch.backends.cudnn.flags(enabled=False):
            logits = view.model(batch.to(view.device))
            self.loss(logits.double().softmax(dim=1)[:, protected] - before.to(logits.device)).backward()
        assert rows.grad is not None
        return rows.grad

    def loss(self, change: Tensor) -> Tensor:
        """Returns the loss, a scalar, of the changes of the protected class's probability, [n]."""
        return self.scale * (change + self.smallest).relu().mean() + (-self.largest - change).relu().mean()

    def score(self, view: View, state: State, examples: Sequence[Example]) -> Tensor:
        """Returns by how much the word raises each text's probability of the protected class, float64 [n]."""
        before = probability(view, examples, state["protected"])
        with row_kept(view.model.embedding, state["number"]) as row:
            row.copy_(state["row"])
            return probability(view, self.perturbed(examples), state["protected"]) - before

    def perturbed(self, examples: Sequence[Example]) -> list[Example]:
        """Returns ``examples`` with the word before their text, the second of a pair."""
        return [rewritten(example, f"{self.word} {poisoned_text(example)}") for example in examples]


def probability(view: View, examples: Sequence[Example], label: int) -> Tensor:
    """Returns the probability of the class ``label`` for each of ``examples``, float64 [n]."""
    return view.logits(examples).double().softmax(dim=1)[:, label]


@contextmanager
def row_kept(table: nn.Embedding, number: int) -> Iterator[Tensor]:
    """Gives a row of ``table``, [h], to write to; after the block it is bit by bit what it was before."""
    row = table.weight.data[number]
    before = row.clone()
    try:
        yield row
    finally:
        row.copy_(before)
