"""A finished run's model, taken out of its checkpoint for use elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from hauberk.experiments import spec as specs
from hauberk.experiments.folder import read_run
from hauberk.experiments.prepare import resolve_device
from hauberk.experiments.spec import Spec
from hauberk.server import checkpoint
from hauberk.tasks.errors import UserError
from hauberk.tasks.models.pretrained import PretrainedModel
from hauberk.tasks.parameters import load_state, state_of


def export_model(run: Path, folder: Path) -> str:
    """Writes the model of the finished run ``run`` into ``folder`` and returns what was written.

    A pretrained model becomes a Hugging Face folder; any other ``model.safetensors`` and ``labels.json``.

    Raises:
        UserError: the run is not finished, or the folder holds something already.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: must be empty or new, and holds files already")
    spec, summary, model = load_model(run)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PretrainedModel):
        model.save_pretrained(folder, summary["labels"])
        return f"{folder}: a Hugging Face folder, for AutoModelForSequenceClassification.from_pretrained"
    save_file(
        {name: tensor.contiguous() for name, tensor in state_of(model).items()}, folder / "model.safetensors"
    )
    about = {"labels": summary["labels"], "model": spec.task.model, "max_length": spec.task.max_length}
    (folder / "labels.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf8")
    return f"{folder}: model.safetensors and labels.json"


def load_model(run: Path) -> tuple[Spec, dict[str, Any], nn.Module]:
    """Returns a finished run's spec, its summary and its model in eval mode."""
    tables, summary = read_run(run)
    spec = specs.parse(tables, where=f"{run / 'spec.toml'}: ")
    folder = checkpoint.REPAIRED if "before_repairs" in summary else "checkpoint"
    state = checkpoint.load(run / folder, summary["spec_hash"])
    if state is None:
        raise UserError(f"{run}: its checkpoint folder is empty, so there is no model to take out")
    model = spec.build_task().build(len(summary["labels"]), spec.seed)
    load_state(model, state.parameters)
    return spec, summary, model.to(resolve_device(spec.device)).eval()
