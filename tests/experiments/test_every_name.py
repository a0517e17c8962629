"""Every rule and every pre-aggregator runs by its name in a spec, with its state through a checkpoint."""

from __future__ import annotations

import pytest

from hauberk.experiments import run
from hauberk.strategies import AGGREGATORS, PRE_AGGREGATORS

MORE = {
    "bulyan": {"n_malicious": 0},
    "deepsight": {"n_inputs": 20},
    "robust_learning_rate": {"threshold": 3},
    "clip": {"threshold": 1.0},
}


@pytest.fixture
def two_rounds(tables):
    tables["federation"]["rounds"] = 2
    tables["task"] |= {"n_train": 80, "model": {"name": "text_cnn", "embedding_dim": 2, "n_filters": 2}}
    tables["server"] = {"twin": False, "clean": {"n_examples": 32}}
    return tables


@pytest.mark.parametrize("name", AGGREGATORS)
def test_a_rule_runs_and_resumes_to_the_same_bits(name, two_rounds, tmp_path):
    two_rounds["aggregator"] = {"name": name, "n_malicious": 1, **MORE.get(name, {})}
    whole = run(two_rounds, out=tmp_path / "whole")
    assert 0 <= whole.summary["final"]["accuracy"] <= 1
    folder = whole.folder
    (folder / "summary.json").unlink()
    for path in (folder / "checkpoint").glob("state-0002.*"):
        path.unlink()
    assert run(two_rounds, out=folder, resume=True).summary["model_sha256"] == whole.summary["model_sha256"]


@pytest.mark.parametrize("name", PRE_AGGREGATORS)
def test_a_pre_aggregator_runs_before_a_rule(name, two_rounds, tmp_path):
    before = {"name": name, **MORE.get(name, {})}
    two_rounds["aggregator"] = {"name": "median", "before": [before]}
    assert run(two_rounds, out=tmp_path / "run").summary["rounds"] == 2
