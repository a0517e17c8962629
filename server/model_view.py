"""A model as a detector sees it: answers and hidden states for texts, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hauberk.tasks.precision import autocast
from hauberk.tasks.text.batches import Batch, evaluation_batches
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.metrics import predict
from hauberk.tasks.text.models.base import TextModel

Pooling = Literal["cls", "mean", "max"]


@dataclass(kw_only=True, eq=False)
class View:
    """A model that is used and never trained.

    Attributes:
        model: in its final state.
        encode: how the task tokenises examples.
        labels: the names of the classes.
        special_ids: tokens that stand for no text; what the vocabulary cannot spell is one of them.
        passes: how many texts went so far through the model, or through a network that a detector brings.
    """

    model: TextModel
    encode: Callable[[Sequence[Example]], Encoded]
    labels: tuple[str, ...]
    special_ids: frozenset[int] = frozenset()
    precision: str = "float32"
    device: str = "cpu"
    batch_size: int = 128
    passes: int = 0

    def logits(self, examples: Sequence[Example]) -> Tensor:
        """Returns the logits of ``examples``, float32 [n, n_classes]; n may be 0."""
        if not examples:
            return torch.empty(0, len(self.labels))
        self.passes += len(examples)
        return predict(
            self.model,
            self.encode(examples),
            batch_size=self.batch_size,
            precision=self.precision,
            device=self.device,
        )

    @torch.no_grad()
    def features(self, examples: Sequence[Example], pooling: Pooling = "cls") -> Tensor:
        """Returns one vector per layer and text, float32 [n_layers, n, h], in one pass; n is at least 1.

        ``cls`` is what the model itself makes of a layer's states, the first token's in a BERT; ``mean`` and ``max``
        go over the real tokens.
        """
        self.passes += len(examples)
        found: list[Tensor] = []
        rows: list[Tensor] = []
        with self.evaluating():
            for batch in evaluation_batches(self.encode(examples), self.batch_size):
                batch = batch.to(self.device)
                with autocast(self.precision, self.device):
                    states = self.model.layers(batch)
                found.append(torch.stack([self._pooled(s.float(), batch, pooling) for s in states]).cpu())
                rows.append(batch.rows.cpu())
        return torch.cat(found, dim=1)[:, torch.cat(rows).argsort()]

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Runs its block with the model in eval mode, and gives it back in the mode it had."""
        training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(training)

    def _pooled(self, states: Tensor, batch: Batch, pooling: Pooling) -> Tensor:
        if pooling == "cls":
            return self.model.features(states, batch)
        mask = batch.mask[:, : states.shape[1], None]
        if pooling == "max":
            return states.masked_fill(~mask, -torch.inf).amax(dim=1)
        return (states * mask).sum(dim=1) / mask.sum(dim=1)
