"""The graphs, by the names that an experiment uses."""

from hauberk.tasks.graph.datasets.files import Files
from hauberk.tasks.graph.datasets.kinships import Kinships
from hauberk.tasks.graph.datasets.nations import Nations
from hauberk.tasks.graph.datasets.umls import UMLS

GRAPHS: dict[str, type] = {"umls": UMLS, "nations": Nations, "kinships": Kinships, "files": Files}

__all__ = ["GRAPHS", "UMLS", "Files", "Kinships", "Nations"]
