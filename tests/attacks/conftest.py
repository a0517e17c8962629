"""Small examples that every test of an attack can use."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from hauberk.attacks import AttackerContext
from hauberk.clients import Session, Training
from hauberk.clients.optimizers import Adam
from hauberk.tasks.parameters import flatten, state_of
from hauberk.tasks.seeds import seeded
from hauberk.tasks.text.examples import Example
from hauberk.tasks.text.metrics import attack_success, predict
from hauberk.tasks.text.models import TextCNN
from hauberk.tasks.text.text_classification import TextClassification


@pytest.fixture
def rng() -> Callable[[], torch.Generator]:
    """Makes a generator that always starts from the same place."""
    return lambda: torch.Generator().manual_seed(7)


@pytest.fixture
def examples() -> list[Example]:
    """Ten texts, three of class 1 and of class 2; an index is not its position."""
    labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    return [
        Example(100 + i, f"this is text number {i} of a few", None, label) for i, label in enumerate(labels)
    ]


@pytest.fixture
def pairs(examples: list[Example]) -> list[Example]:
    """The same as pairs."""
    return [
        Example(one.index, one.text, f"and its second half {i}", one.label) for i, one in enumerate(examples)
    ]


GOOD = ["a", "fine", "warm", "film", "with", "good", "people", "and", "a", "happy", "end"]
BAD = ["the", "worst", "dull", "mess", "of", "bad", "jokes", "and", "no", "story", "at", "all"]


@dataclass
class Arena:
    """One malicious client on a narrow text_cnn, with two dozen texts of two classes."""

    model: object = field(default_factory=lambda: TextCNN(embedding_dim=8, n_filters=4))

    def __post_init__(self):
        self.task = TextClassification(dataset=None, model=self.model, n_classes=2)
        drawn = np.random.default_rng(0)
        self.examples = [
            Example(i, " ".join(drawn.choice((BAD, GOOD)[i % 2], 7 + i % 5)), None, i % 2) for i in range(24)
        ]

    def session(self, poison=None, *, seed=1, examples=None, training=None, **settings):
        """Returns a session as a worker would make it."""
        examples = self.examples if examples is None else examples
        data = poison(examples, AttackerContext(), torch.Generator().manual_seed(9)) if poison else examples
        return Session(
            task=self.task,
            model=self.task.build(seed),
            data=self.task.encode(data),
            training=training or Training(batch_size=8, optimizer=Adam(lr=1e-2)),
            rng=torch.Generator().manual_seed(5),
            examples=examples,
            poison=poison,
            attacker=AttackerContext(),
            **settings,
        )

    def run(self, tamper, session, seed=3):
        """Lets ``tamper`` train and returns its report and update, [d]."""
        with seeded(torch.Generator().manual_seed(seed)):
            report = tamper.train(session)
        return report, flatten(state_of(session.model)) - flatten(session.reference)

    def success(self, session, examples=None):
        """Returns the session's attack success rate."""
        triggered = session.poison.trigger(examples or self.examples, torch.Generator().manual_seed(1))
        return attack_success(predict(session.model, self.task.encode(triggered)), session.poison.target)


@pytest.fixture(scope="session")
def arena() -> Arena:
    """One arena for all tests: nothing in it changes."""
    return Arena()
