"""What training on labelled texts minimises."""

from __future__ import annotations

from torch import Tensor, nn

from hauberk.tasks.text.batches import Batch


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    """Returns the mean cross entropy of ``model`` on ``batch``, a float32 scalar."""
    return nn.functional.cross_entropy(model(batch).float(), batch.labels)
