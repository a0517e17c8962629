"""What several folders' tests share: a small job on real tweets, as the tables of a spec."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from hauberk.tasks.text.datasets import DATASETS
from tests.helpers.pictures import pictures
from tests.helpers.tweets import small_tables

# The same examples in every run, so that a failure is a change's; `make fuzz` draws new ones, a hundred times as many.
settings.register_profile("default", max_examples=40, deadline=None, derandomize=True)
settings.register_profile("fuzz", max_examples=4000, deadline=None, derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def _same_start():
    """No test's dropout depends on the tests before it; and two processes with two threads each are slower by far."""
    torch.manual_seed(0)
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_pictures():
    """Drawing costs each run 0.2 s; the tests that look at a run's picture have it drawn."""
    with pictures(drawn=False):
        yield


@pytest.fixture(scope="session")
def tweets(tmp_path_factory) -> Path:
    """A folder with a small part of the embedded tweets: 200 to train on and 80 to test on."""
    folder = tmp_path_factory.mktemp("tweets")
    raw = DATASETS["tweet_sentiment"]().load()
    for name, examples, n in (("train", raw.train, 200), ("test", raw.test, 80)):
        step = len(examples) // n
        lines = [{"text": e.text, "label": e.label} for e in examples[::step][:n]]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def tables(tweets) -> dict[str, Any]:
    """A complete small spec, as nested tables: 5 clients, one of them malicious, 3 rounds in this process."""
    return small_tables(tweets)
