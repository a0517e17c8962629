"""How far a run's answers are those of its attack-free twin, text by text."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from hauberk.experiments.runner.setup import Prepared
from hauberk.experiments.runner.twin import MODELS, RunDir, has_twin, model_name, twin_dir
from hauberk.tasks.parameters import load_state
from hauberk.tasks.text.consistency import consistency


def beside_twin(prepared: Prepared, parameters: Tensor, folder: RunDir) -> dict[str, float]:
    """Returns the instance-wise consistency of a run's final model with its twin's, on the clean test split.

    Nothing where the run has no twin, the twin kept no model, or the task no classes of texts.

    Args:
        prepared: the run.
        parameters: of its final model, [n_params].
        folder: the run's.
    """
    if prepared.task.modality != "text" or not prepared.labels or not has_twin(prepared):
        return {}
    twin = twin_dir(prepared, folder.identity, folder.path.parent).path
    path = twin / MODELS / model_name(prepared.spec.federation.rounds)
    if not path.exists():
        return {}
    clean: Any = prepared.server.evaluate.clean
    before, after = (_answers(prepared, one) for one in (_read(path), parameters))
    return asdict(consistency(before, after, clean.labels))


def _read(path: Path) -> Tensor:
    return load_file(path)["parameters"]


def _answers(prepared: Prepared, parameters: Tensor) -> Tensor:
    evaluate = prepared.server.evaluate
    model = deepcopy(prepared.server.model)
    load_state(model, parameters)
    return prepared.task.predict(model, evaluate.clean, precision=evaluate.precision, device=evaluate.device)
