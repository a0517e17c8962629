"""What a model is worth: accuracy, macro F1, how often a trigger turns its answer, and the floor of that.

The floor is the share of clean samples of other classes that are already taken for the target: an attack
success rate means nothing without it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.tasks.precision import autocast
from hauberk.tasks.text.batches import evaluation_batches
from hauberk.tasks.text.encoding import Encoded


@torch.no_grad()
def predict(
    model: nn.Module,
    encoded: Encoded,
    *,
    batch_size: int = 128,
    precision: str = "float32",
    device: str = "cpu",
) -> Tensor:
    """Returns the model's logits, float32 [n, n_classes] on the CPU, in the order of the rows.

    Raises:
        ValueError: if there is nothing to predict.
    """
    if not len(encoded):
        raise ValueError("predict needs at least one example, got 0.")
    training = model.training
    model.eval()
    logits: Tensor | None = None
    try:
        for batch in evaluation_batches(encoded, batch_size):
            with autocast(precision, device):
                found = model(batch.to(device))
            if logits is None:
                logits = torch.empty(len(encoded), found.shape[1])
            logits[batch.rows] = found.float().cpu()
    finally:
        model.train(training)
    assert logits is not None
    return logits


def accuracy(logits: Tensor, labels: np.ndarray) -> float:
    """Returns the share of rows of ``logits`` [n, c] whose largest entry is the label's, [n]."""
    return float((_answers(logits) == labels).mean())


def macro_f1(logits: Tensor, labels: np.ndarray) -> float:
    """Returns the mean over classes of F1; a class neither present nor predicted does not count."""
    # scikit-learn's f1_score gives the same, after an import of more than a second; the test compares the two.
    answers = _answers(logits)
    present = np.union1d(answers, labels)
    right = np.array([np.sum((answers == c) & (labels == c)) for c in present])
    given = np.array([np.sum(answers == c) + np.sum(labels == c) for c in present])
    return float(np.mean(2 * right / given))


def attack_success(logits_triggered: Tensor, target: int) -> float:
    """Returns the share of triggered samples, all of another class than ``target``, that are taken for it."""
    return float((_answers(logits_triggered) == target).mean())


def attack_floor(logits_clean_non_target: Tensor, target: int) -> float:
    """Returns the same share for the same samples without the trigger: what is no merit of the attack."""
    return attack_success(logits_clean_non_target, target)


def _answers(logits: Tensor) -> np.ndarray:
    if not len(logits):
        raise ValueError("A rate needs at least one sample, got 0.")
    return logits.argmax(dim=1).cpu().numpy()
