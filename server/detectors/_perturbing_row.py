"""The one embedding that RAP trains, and how the model gets its own back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hauberk.server.model_view import View
from hauberk.tasks.precision import autocast
from hauberk.tasks.text.batches import Batch, training_batches
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.word_rows import keep_norms, rows_alone

Loss = Callable[[Tensor], Tensor]  # changes of a probability [n] -> scalar


@dataclass(frozen=True, kw_only=True, eq=False)
class RowTraining:
    """Trains a row of the word table, its norm kept, towards a change of the protected class's probability.

    Attributes:
        number: which row.
        perturbed: clean texts with the row's word in them.
        before: the protected class's probability without it, float64 [n].
        lr: the step; gradients are never cleared, so that they work as a momentum.
    """

    view: View
    number: int
    perturbed: Encoded
    before: Tensor
    protected: int
    lr: float
    epochs: int
    batch_size: int

    def train(self, loss: Loss, rng: torch.Generator) -> Tensor:
        """Returns the trained row, [h]; the model has its own again."""
        view = self.view
        with row_kept(view.model.embedding, self.number), view.evaluating():
            with rows_alone(view.model, [self.number]) as rows:
                norms = rows.detach().norm(dim=1, keepdim=True)
                for _ in range(self.epochs):
                    for batch in training_batches(self.perturbed, self.batch_size, rng):
                        rows.data -= self.lr * self._gradient(loss, batch, rows)
                        keep_norms(rows, norms)
            return rows.detach()[0].clone()

    def _gradient(self, loss: Loss, batch: Batch, rows: nn.Parameter) -> Tensor:
        view, before = self.view, self.before[batch.rows].to(rows.device)
        view.passes += len(batch)
        # cuDNN cannot go back through a recurrent network in eval mode, which is how RAP trains.
        with autocast(view.precision, view.device), torch.backends.cudnn.flags(enabled=False):
            logits = view.model(batch.to(view.device))
            loss(logits.double().softmax(dim=1)[:, self.protected] - before).backward()
        assert rows.grad is not None
        return rows.grad


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
