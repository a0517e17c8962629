"""A finished run's model, taken out of its checkpoint for use elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file
from torch import nn

from hauberk.experiments.runner.finished import read_parameters
from hauberk.experiments.spec.loader import Spec
from hauberk.tasks.device import resolve_device
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import load_state, state_of
from hauberk.tasks.text.models.pretrained import PretrainedModel


def export_model(run: Path, folder: Path) -> str:
    """Writes the model of the finished run ``run`` into ``folder`` and returns what was written.

    A pretrained model becomes a Hugging Face folder; any other ``model.safetensors`` and ``labels.json``.

    Raises:
        UserError: the run is not finished, or the folder holds something already.
    """
    return write_model(*load_model(run), folder)


def write_model(spec: Spec, labels: Sequence[str], model: nn.Module, folder: Path) -> str:
    """Writes ``model`` into the new or empty ``folder`` and returns what was written."""
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: must be empty or new, and holds files already")
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PretrainedModel):
        model.save_pretrained(folder, labels)
        return f"{folder}: a Hugging Face folder, for AutoModelForSequenceClassification.from_pretrained"
    save_file(
        {name: tensor.contiguous() for name, tensor in state_of(model).items()}, folder / "model.safetensors"
    )
    about = {"labels": list(labels), "model": spec.task.model, "max_length": spec.task.max_length}
    (folder / "labels.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf8")
    return f"{folder}: model.safetensors and labels.json"


def load_model(run: Path) -> tuple[Spec, list[str], nn.Module]:
    """Returns a finished run's spec, the names of its classes and its model in eval mode."""
    spec, summary, parameters = read_parameters(run)
    model = replace(spec.parts.task, n_classes=len(summary["labels"])).build(spec.seed)
    load_state(model, parameters)
    return spec, summary["labels"], model.to(resolve_device(spec.device)).eval()
