"""An exported model whose rule defends while it answers: written with all that it takes, and answering anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from hauberk.experiments.analysis.screen_texts import about_answer
from hauberk.experiments.spec import loader
from hauberk.experiments.spec.loader import Spec
from hauberk.server.serving import answer_with
from hauberk.strategies.serving import Served, Serving
from hauberk.tasks.base import Task
from hauberk.tasks.device import resolve_device
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.text_classification import TextClassification

TENSORS, ABOUT = "serving.safetensors", "serving.json"


@dataclass(frozen=True, eq=False)
class ServedModel:
    """An exported model with its defence.

    Attributes:
        task: that it was trained for.
        model: an instance to compute with.
        labels: the names of the classes.
        serving: what answers.
        spec: of the run.
    """

    spec: Spec
    task: Task
    model: nn.Module
    labels: tuple[str, ...]
    serving: Serving
    precision: str
    device: str

    def answer(self, texts: Sequence[str | tuple[str, str | None]]) -> list[dict[str, Any]]:
        """Returns for each text ``text``, ``prediction`` and ``left_out``, the clients without whose parts it is.

        And ``certified``, how many malicious clients cannot change it, where the rule proves that.
        """
        if not texts:
            return []
        pairs, served = _pairs(texts), self.served(texts)
        names = [self.labels[one] for one in served.logits.argmax(dim=1).tolist()]
        return [
            {"text": text, "prediction": name, **about_answer(self.serving, served, row)}
            for row, ((text, _), name) in enumerate(zip(pairs, names, strict=True))
        ]

    def served(self, texts: Sequence[str | tuple[str, str | None]]) -> Served:
        """Returns what is answered to ``texts``, of which there are some, and whose parts the answers do without."""
        examples = [Example(row, text, second, -1) for row, (text, second) in enumerate(_pairs(texts))]
        encoded = self.task.encode(examples)
        return self.serving(answer_with(self.task, self.model, encoded, self.precision, self.device))


def _pairs(texts: Sequence[str | tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    return [(each, None) if isinstance(each, str) else each for each in texts]


def show_answers(console: Console, answers: Sequence[dict[str, Any]]) -> None:
    """Shows answers as JSON Lines."""
    for each in answers:
        console.out(json.dumps(each, ensure_ascii=False), highlight=False)


def write_served(spec: Spec, labels: Sequence[str], serving: Serving, folder: Path) -> str:
    """Writes what a rule answers with into ``folder`` and returns what was written."""
    tensors, about = serving.packed()
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, folder / TENSORS)
    about = {"labels": list(labels), "spec": spec.to_dict(), "serving": about}
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf8")
    return f"{TENSORS} and {ABOUT}, with which hauberk answer {folder} defends it"


def read_served(folder: str | Path) -> ServedModel:
    """Returns the model that `export_model` wrote into ``folder``, its defence included.

    Raises:
        UserError: there is none, or a part of it is missing or damaged.
    """
    folder = Path(folder)
    if not (folder / ABOUT).exists():
        raise UserError(
            f"{folder}: holds no {ABOUT}: no model that its rule defends while it answers was exported here"
        )
    try:
        about = json.loads((folder / ABOUT).read_bytes())
        spec, labels = loader.parse(about["spec"], where=f"{folder / ABOUT}: "), about["labels"]
        serving = spec.parts.aggregator.restored(load_file(folder / TENSORS), about["serving"])
    except FileNotFoundError:
        raise UserError(f"{folder / TENSORS}: is missing, and without it the model is not defended") from None
    except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{folder}: its {ABOUT} and {TENSORS} do not fit each other, or are damaged or of an earlier version"
        ) from None
    task, device = bound_task(spec, labels), resolve_device(spec.device)
    model = task.build(spec.seed).to(device)
    return ServedModel(spec, task, model, tuple(labels), serving, spec.training.precision, device)


def bound_task(spec: Spec, labels: Sequence[str]) -> Task:
    """Returns the task as the run had it: of texts a model must know the classes alone, and their data may be gone."""
    task = spec.parts.task
    if isinstance(task, TextClassification):
        return replace(task, n_classes=len(labels))
    return task.bind(task.splits(spec.seed))
