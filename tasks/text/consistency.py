"""Side effects instance by instance: a model may keep its accuracy and yet answer other texts rightly.

Source: Zhang et al., "Neural Network Surgery: Injecting Data Patterns into Pre-trained Models with Minimal
Instance-wise Side Effects", NAACL 2021: the Pearson correlation of per-sample scores before and after.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """How alike a model's answers are before and after a change.

    Attributes:
        correlation: Pearson's, between the probabilities that each text's true class gets.
        agreement: Pearson's, between what is right and what is wrong (1 and 0).
        spoilt: the share of texts answered rightly before and wrongly after.
        mended: the share answered wrongly before and rightly after.
    """

    correlation: float
    agreement: float
    spoilt: float
    mended: float


def consistency(before: Tensor, after: Tensor, labels: np.ndarray) -> Consistency:
    """Compares two models' logits, both [n, n_classes], on texts of the classes ``labels`` [n].

    Raises:
        ValueError: if the three are not about the same texts, or about none.
    """
    if not len(before) == len(after) == len(labels) or not len(labels):
        sizes = f"{len(before)}, {len(after)} and {len(labels)}"
        raise ValueError(f"Logits before, logits after and labels must be as many and not none, got {sizes}.")
    was, is_now = correct(before, labels), correct(after, labels)
    return Consistency(
        correlation=pearson(true_class(before, labels), true_class(after, labels)),
        agreement=pearson(was.double(), is_now.double()),
        spoilt=float((was & ~is_now).double().mean()),
        mended=float((~was & is_now).double().mean()),
    )


@contextmanager
def answers_compared(session: TrainingSession, clean: Encoded) -> Iterator[dict[str, float]]:
    """Gives a report that says, after the block, how alike the answers on ``clean`` still are."""
    report: dict[str, float] = {}
    before = _answers(session, clean)
    yield report
    found = consistency(before, _answers(session, clean), clean.labels)
    report["surgery/correlation"] = found.correlation
    report["surgery/spoilt"] = found.spoilt
    report["surgery/mended"] = found.mended


def true_class(logits: Tensor, labels: np.ndarray) -> Tensor:
    """Returns the probability of each text's true class, float64 [n], of logits [n, n_classes]."""
    return logits.double().softmax(dim=1)[torch.arange(len(labels)), torch.as_tensor(labels)]


def correct(logits: Tensor, labels: np.ndarray) -> Tensor:
    """Returns which texts are answered rightly, bool [n]."""
    return logits.argmax(dim=1) == torch.as_tensor(labels)


def pearson(first: Tensor, second: Tensor) -> float:
    """Returns the correlation of two float vectors [n]; where one is constant, 1 if they are equal and else 0."""
    a, b = first - first.mean(), second - second.mean()
    scale = float(a.norm() * b.norm())
    return float(a @ b) / scale if scale else float(torch.equal(first, second))


def n_changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> int:
    """Returns how many numbers differ between two states of one model."""
    return sum(int((before[name] != after[name]).sum()) for name in before)


def _answers(session: TrainingSession, clean: Encoded) -> Tensor:
    precision, device = session.training.precision, session.device
    return session.task.predict(session.model, clean, precision=precision, device=device)
