"""MLflow: a run at a tracking server, or in a database or folder that its own pages show."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hauberk.experiments.tracking.base import Followed, Status, library
from hauberk.tasks.errors import UserError

KNOWN = "mlflow.json"  # in the run's folder: which MLflow run is this one, for a resume
ROUND = "round"  # the metric that says how far MLflow's run has come
MOST_PARAMS, MOST_METRICS, LONGEST = 100, 1000, 500  # in one request, and of a parameter's text
# A server that is gone costs seconds and not the minutes of MLflow's own patience; nothing is sent to anybody else.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


@dataclass(frozen=True, kw_only=True)
class Mlflow:
    """Follows a run in MLflow: the spec as parameters, each round's figures as metrics, its identity as tags.

    Args:
        uri: of the server or store: ``http://host:port``, ``sqlite:///file``; by default MLFLOW_TRACKING_URI, or else
            what MLflow takes.
        experiment: the name of the experiment in which the run is.
    """

    uri: str | None = None
    experiment: str = "hauberk"

    def open(self, run: Followed) -> MlflowRun:
        """Opens the MLflow run that an earlier start of this one made, or makes one."""
        for key, value in SETTINGS.items():
            os.environ.setdefault(key, value)
        entities = library("mlflow").entities
        for name in ("mlflow", "alembic"):  # after the import, which sets them up
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            client = library("mlflow").MlflowClient(tracking_uri=self.uri)
            known = _known(client, run)
            made = known or _begin(client, entities, self._experiment_id(client), run)
        except UserError:
            raise
        except Exception as error:  # of MLflow, requests or SQLAlchemy
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise UserError(
                f"tracking.uri: mlflow at {self.uri or 'its default'} does not answer: {reason}"
            ) from None
        knows = int(made.data.metrics.get(ROUND, 0)) if known else 0
        return MlflowRun(client, entities, made.info.run_id, min(knows, run.played))

    def _experiment_id(self, client: Any) -> str:
        found = client.get_experiment_by_name(self.experiment)
        return found.experiment_id if found else client.create_experiment(self.experiment)


@dataclass(frozen=True, eq=False)
class MlflowRun:
    """One run in MLflow."""

    client: Any
    entities: Any
    run_id: str
    knows: int

    def log(self, number: int, values: Mapping[str, float]) -> None:  # noqa: D102
        self._log({**values, ROUND: float(number)}, number)

    def finish(self, values: Mapping[str, float], tags: Mapping[str, str]) -> None:  # noqa: D102
        self._log(values, 0)
        for name, text in tags.items():
            self.client.set_tag(self.run_id, name, text)

    def close(self, status: Status) -> None:  # noqa: D102
        self.client.set_terminated(self.run_id, status)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [self.entities.Metric(name, value, now, step) for name, value in values.items()]
        for some in _parts(metrics, MOST_METRICS):
            self.client.log_batch(self.run_id, metrics=some)


def _known(client: Any, run: Followed) -> Any:
    """Returns the MLflow run of an earlier start; None where there was none, or the store has it no longer."""
    path = run.folder / KNOWN
    if not path.exists() or not run.played:
        return None
    from mlflow.exceptions import MlflowException

    try:
        run_id = str(json.loads(path.read_bytes())["run_id"])
        found = client.get_run(run_id)
        client.update_run(run_id, "RUNNING")
    except (MlflowException, ValueError, KeyError, TypeError):
        return None
    return found


def _begin(client: Any, entities: Any, experiment_id: str, run: Followed) -> Any:
    tags = {f"hauberk.{key}": value for key, value in run.identity.items()}
    tags["hauberk.folder"] = str(run.folder.resolve())
    made = client.create_run(experiment_id, tags=tags, run_name=run.folder.name)
    params = [entities.Param(key, str(value)[:LONGEST]) for key, value in run.settings.items()]
    for some in _parts(params, MOST_PARAMS):
        client.log_batch(made.info.run_id, params=some)
    run.folder.mkdir(parents=True, exist_ok=True)
    (run.folder / KNOWN).write_text(json.dumps({"run_id": made.info.run_id}) + "\n", encoding="utf8")
    return made


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
