"""Where stocks come from, by the names that an experiment uses."""

from hauberk.tasks.stocks.datasets.files import Files
from hauberk.tasks.stocks.datasets.skfolio import Skfolio

DATASETS: dict[str, type] = {"skfolio": Skfolio, "files": Files}

__all__ = ["DATASETS", "Files", "Skfolio"]
