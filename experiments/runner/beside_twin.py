"""How far a run's answers are those of its attack-free twin, text by text."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hauberk.experiments.runner.setup import Prepared
from hauberk.experiments.runner.twin import MODELS, RunDir, has_twin, kept_model, twin_dir
from hauberk.server.serving import model_alone, predictor
from hauberk.server.state import ServerState
from hauberk.tasks.text.consistency import consistency


def beside_twin(prepared: Prepared, last: ServerState, folder: RunDir) -> dict[str, float]:
    """Returns the instance-wise consistency of a run's final answers with its twin's, on the clean test split.

    Nothing where the run has no twin, the twin kept no model, or the task no classes of texts.

    Args:
        prepared: the run.
        last: after its last round, and its repairs.
        folder: the run's.
    """
    if prepared.task.modality != "text" or not prepared.labels or not has_twin(prepared):
        return {}
    honest = last_of_twin(prepared, folder)
    if honest is None:
        return {}
    clean: Any = prepared.server.evaluate.clean
    before, after = (predictor(prepared.server, state)(clean) for state in (honest, last))
    return asdict(consistency(before, after, clean.labels))


def natural_undefended(prepared: Prepared, folder: RunDir) -> float | None:
    """Returns the natural rate of the model alone, where a rule answers with more than that; None without a twin."""
    honest = last_of_twin(prepared, folder) if has_twin(prepared) else None
    if honest is None:
        return None
    return prepared.server.evaluate.attack_success(model_alone(prepared.server, honest.parameters))


def last_of_twin(prepared: Prepared, folder: RunDir) -> ServerState | None:
    """Returns what the twin of a run in ``folder`` has kept of the last round."""
    twin = twin_dir(prepared, folder.identity, folder.path.parent).path
    return kept_model(prepared, twin / MODELS, prepared.spec.federation.rounds)
