"""A kept round comes back as the rule saw it; the server's own update is honest training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

from hauberk.experiments import run
from hauberk.experiments.spec.loader import SpecError, parse
from hauberk.server import update_store
from hauberk.strategies import AGGREGATORS
from hauberk.strategies.base import Aggregation, Rule
from hauberk.tasks.errors import UserError


@dataclass(frozen=True)
class Trusting(Rule):
    """Returns the server's own update, and so shows what it is."""

    needs: ClassVar = frozenset({"root_update"})

    def __call__(self, updates, *, context=None, state=None):
        return Aggregation(context.root_update.clone())


@pytest.fixture
def finished(tables, tmp_path):
    tables["server"] = {"twin": False, "keep_updates": [2], "clean": {"n_examples": 12}}
    return run(tables, out=tmp_path / "run")


def test_a_kept_round_aggregates_to_the_very_same_model(finished, tables, tmp_path):
    assert [path.name for path in (finished.folder / "updates").iterdir()] == ["round-0002.safetensors"]
    round_2 = update_store.read(finished.folder, 2)
    assert round_2.malicious == (0,)
    assert round_2.mask.tolist() == [True, False, False, False, False]
    assert round_2.context.client_ids == (0, 1, 2, 3, 4)
    assert round_2.context.layout.n_params == round_2.updates.shape[1]
    update = AGGREGATORS["fedavg"]()(round_2.updates, context=round_2.context).update
    tables["federation"]["rounds"] = 2
    from hauberk.server import checkpoint

    two = run(tables, out=tmp_path / "two")
    state = checkpoint.load(two.folder / "checkpoint", two.summary["identity"])
    assert torch.equal(round_2.context.parameters + update, state.parameters)


def test_a_round_that_was_not_kept_says_how_to_keep_it(finished):
    with pytest.raises(UserError, match=r"kept: 2\).*--set server.keep_updates=\[3\]"):
        update_store.read(finished.folder, 3)


def test_keeping_updates_changes_no_bits(tables, finished, tmp_path):
    tables["server"] = {"twin": False, "clean": {"n_examples": 12}}
    assert run(tables, out=tmp_path / "plain").summary["model_sha256"] == finished.summary["model_sha256"]


def test_the_servers_own_update_trains_the_model(tables, tmp_path):
    tables["server"] = {"twin": False, "clean": {"n_examples": 60}}
    tables["federation"] = {"n_clients": 2, "rounds": 6}
    tables["training"] = {"optimizer": {"name": "adam", "lr": 0.01}, "epochs": 3}
    first = run(tables, aggregator=Trusting(), out=tmp_path / "a").summary
    assert first["final"]["accuracy"] > 0.5
    assert (
        run(tables, aggregator=Trusting(), out=tmp_path / "b").summary["model_sha256"]
        == first["model_sha256"]
    )


def test_a_rule_that_needs_clean_data_is_refused_without_them(tables, tmp_path):
    with pytest.raises(UserError, match=r"needs root_update; give the server clean data.*got 0"):
        run(tables, aggregator=Trusting(), out=tmp_path / "run")


def test_a_spec_without_clean_data_is_refused_before_the_run(tables):
    if "fltrust" in AGGREGATORS:
        with pytest.raises(
            SpecError, match=r"fltrust needs root_update; .*server.clean.n_examples >= 1, got 0"
        ):
            parse(tables, ["aggregator.name=fltrust"])


def test_clean_data_are_drawn_apart_from_the_clients(tables):
    from hauberk.experiments.runner.setup import prepare

    tables["server"] = {"twin": False, "clean": {"n_examples": 12}}
    prepared = prepare(parse(tables))
    clients = {e.index for e in prepared.worker.examples}
    clean = set(prepared.server.clean.index.tolist())
    assert len(clean) == 12
    assert not clean & clients
