"""What the global model does: the task's metrics, and how far an attack got.

The attack success rate is the share of triggered test examples that the model answers as the attacker wants; the
floor is the share of the same examples, clean, that it answers so already. A bare rate misleads where the model is
weak, so they always go together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from hauberk.attacks import Attack
from hauberk.tasks.base import EncodedExamples, Metric, Task
from hauberk.tasks.seeds import generator

Metrics = dict[str, float | None]
NATURAL = "attack_success_natural"  # measured on the attack-free twin, which is another run
ATTACK_METRICS = (
    Metric("attack_success_rate", "attack success", higher_is_better=False, is_share=True),
    Metric("attack_success_floor", "its floor", higher_is_better=False, is_share=True),
    Metric(NATURAL, "its natural rate", higher_is_better=False, is_share=True),
)
ATTACK_NAMES = tuple(metric.name for metric in ATTACK_METRICS)


@dataclass(frozen=True)
class Evaluation:
    """The test split, clean and triggered.

    Attributes:
        task: what is learned.
        clean: the encoded test split.
        triggered: what of it a trigger was put into; None when nobody lies or nothing is triggered.
        rows: which rows of ``clean`` the floor is measured on: where the triggered examples come from.
        success: the share of predictions [n, ...] that are as the attacker wants.
    """

    task: Task
    clean: EncodedExamples
    triggered: EncodedExamples | None = None
    rows: np.ndarray | None = None
    success: Callable[[Tensor], float] | None = None
    precision: str = "float32"
    device: str = "cpu"

    def __call__(self, model: nn.Module) -> Metrics:
        """Returns the task's metrics, then the attack's, of one model."""
        return self.of(lambda encoded: self._predict(model, encoded))

    def of(self, predict: Callable[[Any], Tensor]) -> Metrics:
        """Returns the same of whatever answers encoded examples."""
        return self.metrics({name: predict(encoded) for name, encoded in self.parts.items()})

    @property
    def parts(self) -> dict[str, EncodedExamples]:
        """What a model has to answer: "clean", and "triggered" where there is an attack to measure."""
        measured = self.triggered is not None and self.success is not None
        return {"clean": self.clean, **({"triggered": self.triggered} if measured else {})}  # type: ignore[dict-item]

    def metrics(self, predictions: Mapping[str, Tensor]) -> Metrics:
        """Returns the task's metrics, then the attack's, None each where there is none to measure.

        Args:
            predictions: a model's answers to each of ``parts``, [n, ...].
        """
        clean = predictions["clean"]
        found: Metrics = {**self.task.score(clean, self.clean), **dict.fromkeys(ATTACK_NAMES)}
        if "triggered" in predictions and self.success is not None:
            found["attack_success_rate"] = self.success(predictions["triggered"])
            if self.rows is None or len(self.rows):
                found["attack_success_floor"] = self.success(clean[self.rows])
        return found  # the natural rate is known to whoever records a round, if to anyone

    @property
    def nothing(self) -> Metrics:
        """The metrics of a model that was not measured."""
        return dict.fromkeys((*(metric.name for metric in self.task.metrics), *ATTACK_NAMES))

    def attack_success(self, predict: Callable[[Any], Tensor]) -> float:
        """Returns the share of the triggered examples, of which there are some, that are answered as wanted."""
        assert self.triggered is not None
        assert self.success is not None
        return self.success(predict(self.triggered))

    def _predict(self, model: nn.Module, encoded: EncodedExamples) -> Tensor:
        return self.task.predict(model, encoded, precision=self.precision, device=self.device)

    def warnings(self) -> list[str]:
        """Returns what the task has to say of triggers that a model cannot see, a line each."""
        if self.triggered is None or self.rows is None or len(self.rows) != len(self.triggered):
            return []
        return self.task.trigger_warnings(self.clean.take(self.rows), self.triggered)


def prepare_evaluation(
    task: Task,
    test: Sequence[Any],
    attack: Attack | None,
    seed: int,
    precision: str,
    device: str,
    encoded: Any = None,
) -> Evaluation:
    """Encodes the test split once, if it is not ``encoded`` yet, and puts the trigger into its victims."""
    clean = task.encode(test) if encoded is None else encoded
    if attack is None or attack.poison is None:
        return Evaluation(task, clean, precision=precision, device=device)
    triggered = attack.poison.trigger(test, generator(seed, "trigger"))
    if not triggered:  # an untargeted attack has no success rate: what it does shows in the metrics
        return Evaluation(task, clean, precision=precision, device=device)
    rows = attack.poison.originals(test, triggered)
    return Evaluation(task, clean, task.encode(triggered), rows, attack.poison.success, precision, device)
