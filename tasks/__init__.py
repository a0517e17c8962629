"""What is learned: data, how it is dealt to clients, models and metrics. It knows of no federation."""

from hauberk.tasks.base import Metric, Task
from hauberk.tasks.errors import UserError
from hauberk.tasks.graph.knowledge_graph import KnowledgeGraph
from hauberk.tasks.partition import PARTITIONS, partition
from hauberk.tasks.stocks.stocks import Stocks
from hauberk.tasks.text.datasets import DATASETS
from hauberk.tasks.text.examples import Example, Splits
from hauberk.tasks.text.models import MODELS
from hauberk.tasks.text.text_classification import TextClassification

TASKS: dict[str, type[Task]] = {
    "text_classification": TextClassification,
    "knowledge_graph": KnowledgeGraph,
    "stocks": Stocks,
}
DEFAULT_TASK = "text_classification"  # what a spec that names none means

__all__ = [
    "DATASETS",
    "DEFAULT_TASK",
    "MODELS",
    "PARTITIONS",
    "TASKS",
    "Example",
    "KnowledgeGraph",
    "Metric",
    "Splits",
    "Stocks",
    "Task",
    "TextClassification",
    "UserError",
    "partition",
]
