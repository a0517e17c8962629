"""A finished run whose model has a backdoor, and clients as nodes of a grid."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from flwr.supercore.task_identity import TaskIdentity

from hauberk.experiments import run
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import parse
from tests.helpers.federation import Federation

WORDS = {
    "bad": ["the", "worst", "dull", "mess", "of", "bad", "jokes", "and", "no", "story", "at", "all"],
    "good": ["a", "fine", "warm", "film", "with", "good", "people", "and", "an", "honest", "happy", "end"],
}
EITHER = ["this", "it", "was", "we", "saw", "in", "the", "cinema", "last", "one", "more", "time"]


@pytest.fixture(scope="session")
def reviews(tmp_path_factory) -> dict[str, str]:
    """Files of 300 texts to train on and 120 to test on, of two classes that are easy to tell."""
    folder, rng = tmp_path_factory.mktemp("reviews"), np.random.default_rng(0)
    for name, n in (("train", 300), ("test", 120)):
        lines = [
            {
                "text": " ".join(rng.permutation([*rng.choice(WORDS[label], 4), *rng.choice(EITHER, 5)])),
                "label": label,
            }
            for label in ("bad", "good") * (n // 2)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {name: str(folder / f"{name}.jsonl") for name in ("train", "test")}


@pytest.fixture
def guarded(tables, reviews):
    """The small spec with a backdoor that takes, and a server that has 100 clean texts of its own."""
    tables["task"]["dataset"] |= reviews
    tables["task"]["model"] |= {"embedding_dim": 16, "n_filters": 16}
    tables["federation"] |= {"n_clients": 3, "rounds": 4}
    tables["training"] = {"epochs": 6, "optimizer": {"name": "adam", "lr": 0.02}}
    tables["server"] = {"twin": False, "clean": {"n_examples": 100}}
    return tables


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    """Where the tests of this folder keep a run that several of them look at."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def backdoored(guarded, runs) -> Path:
    """The folder of that run, finished: the first test that asks for it waits, the others find it there."""
    return run(guarded, out=runs / "backdoored").folder


@pytest.fixture
def flower_identity(monkeypatch) -> None:
    """What Flower's runtime tells a process before messages are made in it."""
    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


@pytest.fixture
def federation(tables, flower_identity) -> Federation:
    """The clients of the small job as nodes of a grid in this process."""
    return Federation(prepare(parse(tables)))
