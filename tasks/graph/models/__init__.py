"""The score functions, by the names that an experiment uses: a new one is one file, one line here, and one test."""

from hauberk.tasks.graph.models.base import ScoreFunction
from hauberk.tasks.graph.models.complex import ComplEx
from hauberk.tasks.graph.models.distmult import DistMult
from hauberk.tasks.graph.models.rotate import RotatE
from hauberk.tasks.graph.models.transe import TransE

SCORE_FUNCTIONS: dict[str, type[ScoreFunction]] = {
    "transe": TransE,
    "distmult": DistMult,
    "complex": ComplEx,
    "rotate": RotatE,
}

__all__ = ["SCORE_FUNCTIONS", "ComplEx", "DistMult", "RotatE", "ScoreFunction", "TransE"]
