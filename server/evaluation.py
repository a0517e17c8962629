"""What the global model does: accuracy, macro F1, attack success rate and the floor under it.

The attack success rate is the share of triggered non-target test samples that the model takes for the target; the
floor is the share of the same samples, clean, that it takes for the target already. A bare rate misleads where the
model is weak, so the two always go together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hauberk.attacks import Attack, Poison
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.metrics import accuracy, attack_success, macro_f1, predict
from hauberk.tasks.text.models.base import TextModel
from hauberk.tasks.text.text_classification import TextClassification

Metrics = dict[str, float | None]
FEW = 0.01  # a share of unseen triggers that no warning is worth


@dataclass(frozen=True)
class Evaluation:
    """The test split, clean and triggered.

    Attributes:
        clean: the encoded test split.
        triggered: its non-target samples with the trigger put in; None when nobody lies or nothing is poisoned.
        rows: which rows of ``clean`` the triggered samples come from.
        target: the attackers' target class.
    """

    clean: Encoded
    triggered: Encoded | None = None
    rows: np.ndarray | None = None
    target: int | None = None
    precision: str = "float32"
    device: str = "cpu"

    def __call__(self, model: TextModel) -> Metrics:
        """Returns accuracy, macro F1, attack success rate and its floor (the last two None when nobody lies)."""
        options: Mapping = {"precision": self.precision, "device": self.device}
        logits = predict(model, self.clean, **options)
        metrics: Metrics = {
            "accuracy": accuracy(logits, self.clean.labels),
            "macro_f1": macro_f1(logits, self.clean.labels),
            "attack_success_rate": None,
            "attack_success_floor": None,
        }
        if self.triggered is not None and self.target is not None:
            triggered = predict(model, self.triggered, **options)
            metrics["attack_success_rate"] = attack_success(triggered, self.target)
            metrics["attack_success_floor"] = attack_success(logits[self.rows], self.target)
        return metrics

    def warnings(self, max_length: int) -> list[str]:
        """Returns a line where some triggers lie behind the ``max_length`` tokens that the model reads of a text."""
        if self.triggered is None or self.rows is None or len(self.rows) != len(self.triggered):
            return []
        clean = self.clean.take(self.rows)
        pairs = zip(clean.sequences(), self.triggered.sequences(), strict=True)
        unseen = sum(np.array_equal(before, after) for before, after in pairs)
        if unseen <= FEW * len(self.rows):
            return []
        return [
            f"attack.poison: the model sees no trigger in {unseen} of {len(self.rows)} triggered test texts; "
            f"task.max_length = {max_length} cuts off what comes late"
        ]


def prepare_evaluation(
    task: TextClassification,
    test: list[Example],
    attack: Attack | None,
    seed: int,
    precision: str,
    device: str,
) -> Evaluation:
    """Encodes the test split once and puts the trigger into its non-target samples."""
    clean = task.encode(test)
    if attack is None or attack.poison is None:
        return Evaluation(clean, precision=precision, device=device)
    triggered = attack.poison.trigger(test, generator(seed, "trigger"))
    if not triggered:  # an untargeted attack has no success rate: what it does shows in the accuracy
        return Evaluation(clean, precision=precision, device=device)
    rows = floor_rows(test, triggered, attack.poison)
    return Evaluation(clean, task.encode(triggered), rows, attack.poison.target, precision, device)


def floor_rows(test: Sequence[Example], triggered: Sequence[Example], poison: Poison) -> np.ndarray:
    """Returns the rows of ``test`` that the floor is measured on: the originals of the triggered samples.

    An attack with a test set of its own gives samples without an original (index -1): then all its victims.
    """
    position = {example.index: row for row, example in enumerate(test)}
    if any(example.index not in position for example in triggered):
        return np.array([row for row, example in enumerate(test) if poison.is_victim(example)])
    return np.array([position[example.index] for example in triggered])
