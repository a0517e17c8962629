"""Where a run is followed beside its own folder: one line in a spec, one file a tracker."""

from hauberk.experiments.tracking.base import Followed, Tracker, Tracking
from hauberk.experiments.tracking.mlflow import Mlflow
from hauberk.experiments.tracking.tensorboard import TensorBoard

__all__ = ["TRACKERS", "Followed", "Mlflow", "TensorBoard", "Tracker", "Tracking"]

TRACKERS: dict[str, type[Tracking]] = {"mlflow": Mlflow, "tensorboard": TensorBoard}
