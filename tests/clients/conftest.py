"""A small real task: the embedded tokenizer, a narrow text_cnn and forty texts of three clients."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from hauberk.clients import Instruction, Session, Training, Worker, WorkerConfig
from hauberk.clients.optimizers import SGD, Adam
from hauberk.tasks.parameters import state_of
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.models import TextCNN
from hauberk.tasks.text.text_classification import TextClassification

GOOD = ["a", "fine", "warm", "film", "with", "good", "people", "and", "a", "happy", "end"]
BAD = ["the", "worst", "dull", "mess", "of", "bad", "jokes", "and", "no", "story", "at", "all"]


def texts(n: int = 40) -> list[Example]:
    """Returns short texts of two classes, seven to eleven words of one of two lists."""
    rng = np.random.default_rng(0)
    return [
        Example(1000 + i, " ".join(rng.choice((BAD, GOOD)[i % 2], 7 + i % 5)), None, i % 2) for i in range(n)
    ]


@dataclass
class Job:
    """Makes workers and instructions for one experiment."""

    task: TextClassification
    seed: int = 3
    examples: list[Example] = field(default_factory=texts)
    partitions: tuple[np.ndarray, ...] = (np.arange(12), np.arange(12, 25), np.arange(25, 40))

    def __post_init__(self):
        self.encoded = self.task.encode(self.examples)

    def worker(self, attack=None, n_malicious=0, *, compact=True, **settings):
        """Returns a new worker."""
        config = WorkerConfig(
            task=self.task,
            seed=self.seed,
            examples=self.examples,
            encoded=self.encoded,
            partitions=self.partitions,
            attack=attack,
            n_malicious=n_malicious,
            compact=compact,
            **settings,
        )
        return Worker(config)

    def parameters(self):
        """Returns the model of round 0."""
        return {name: value.numpy() for name, value in state_of(self.task.build(self.seed)).items()}

    def instruction(self, client_id=0, round=1, training=None, **settings):
        """Returns what a server would ask in a round."""
        training = training or Training(batch_size=4, epochs=2)
        return Instruction(client_id, round, self.parameters(), training=training, **settings)

    def session(self, training=None, rows=slice(None), **settings):
        """Returns a session on a new model and some of the texts."""
        return Session(
            task=self.task,
            model=self.task.build(self.seed),
            data=self.encoded.take(np.arange(len(self.encoded))[rows]),
            training=training or Training(batch_size=4),
            rng=torch.Generator().manual_seed(5),
            **settings,
        )


@pytest.fixture(scope="session")
def job() -> Job:
    """One job for all tests: nothing in it changes."""
    return Job(TextClassification(dataset=None, model=TextCNN(embedding_dim=8, n_filters=4), n_classes=2))


OPTIMIZERS_TO_TRY = [Adam(lr=1e-2), SGD(lr=0.1), SGD(lr=0.1, momentum=0.9, nesterov=True)]


@pytest.fixture(params=OPTIMIZERS_TO_TRY, ids=repr)
def optimizer(request):
    """Optimisers that leave alone what has no gradient."""
    return request.param


def same(first, second) -> bool:
    """Returns whether two replies hold the same bits."""
    return first.arrays.keys() == second.arrays.keys() and all(
        first.arrays[name].tobytes() == second.arrays[name].tobytes() for name in first.arrays
    )


@pytest.fixture
def bits():
    """Compares two replies bit by bit."""
    return same
