"""A finished run's model, taken out of its checkpoint for use elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from hauberk.experiments.analysis.served import bound_task, write_served
from hauberk.experiments.runner.finished import read_finished, read_parameters
from hauberk.experiments.spec.loader import Spec
from hauberk.strategies.serving import serves
from hauberk.tasks.device import resolve_device
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import load_state, state_of
from hauberk.tasks.text.models.pretrained import PretrainedModel


def export_model(run: Path, folder: Path) -> str:
    """Writes the model of the finished run ``run`` into ``folder`` and returns what was written.

    A pretrained model becomes a Hugging Face folder; any other ``model.safetensors`` and ``labels.json``. Where its
    rule defends it while it answers, what that takes is beside them, and `served.read_served` answers with all of it.

    Raises:
        UserError: the run is not finished, or the folder holds something already.
    """
    spec, labels, model = load_model(run)
    if not serves(spec.parts.aggregator):
        return write_model(spec, labels, model, folder)
    finished = read_finished(run)  # before anything is written: its data may be gone
    assert finished.serving is not None
    written = write_model(spec, labels, model, folder)
    return f"{written}; {write_served(spec, labels, finished.serving, folder)}"


def write_model(spec: Spec, labels: Sequence[str], model: nn.Module, folder: Path) -> str:
    """Writes ``model`` into the new or empty ``folder`` and returns what was written."""
    check_empty(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PretrainedModel):
        model.save_pretrained(folder, labels)
        return f"{folder}: a Hugging Face folder, for AutoModelForSequenceClassification.from_pretrained"
    save_file(
        {name: tensor.contiguous() for name, tensor in state_of(model).items()}, folder / "model.safetensors"
    )
    settings = spec.task.model_dump()
    about: dict[str, Any] = {
        "labels": list(labels),
        **{key: settings[key] for key in ("model", "max_length") if key in settings},
    }
    (folder / "labels.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf8")
    return f"{folder}: model.safetensors and labels.json"


def check_empty(folder: Path) -> None:
    """Raises UserError unless ``folder`` is new or an empty folder."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: must be a folder, and is a file")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: must be empty or new, and holds files already")


def load_model(run: Path) -> tuple[Spec, list[str], nn.Module]:
    """Returns a finished run's spec, the names of its classes and its model in eval mode."""
    spec, summary, parameters = read_parameters(run)
    model = bound_task(spec, summary["labels"]).build(spec.seed)
    load_state(model, parameters)
    return spec, summary["labels"], model.to(resolve_device(spec.device)).eval()
