"""What is learned: data, how it is dealt to clients, models and metrics. It knows of no federation."""

from hauberk.tasks.errors import UserError
from hauberk.tasks.partition import PARTITIONS, partition
from hauberk.tasks.text.datasets import DATASETS
from hauberk.tasks.text.examples import Example, Splits
from hauberk.tasks.text.models import MODELS
from hauberk.tasks.text.text_classification import TextClassification

TASKS: dict[str, type] = {"text_classification": TextClassification}

__all__ = [
    "DATASETS",
    "MODELS",
    "PARTITIONS",
    "TASKS",
    "Example",
    "Splits",
    "TextClassification",
    "UserError",
    "partition",
]
