"""What clients do wrong, tried for real on Ray: refused by client id with the reason, and the next round is whole."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace

import cloudpickle
import numpy as np
import pytest
import ray
import torch

from hauberk.attacks import Attack, Tamper
from hauberk.experiments import run
from hauberk.server.round import RoundFailed

pytestmark = [
    pytest.mark.xdist_group("processes"),  # one at a time: each starts several of its own
    pytest.mark.timeout(600),
]

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test


@dataclass(frozen=True, kw_only=True)
class Misbehave(Tamper):
    """Client 0 does something else in each round."""

    plan: tuple[str, ...]

    def _now(self, session):
        return self.plan[session.round - 1] if session.round <= len(self.plan) else ""

    def train(self, session):
        what = self._now(session)
        if what == "raise":
            raise RuntimeError("out of\nmemory")
        if what == "exit":
            os._exit(1)
        if what == "hang":
            time.sleep(600)
        return session.train()

    def send(self, update, session):
        what = self._now(session)
        return {"nan": torch.full_like(update, torch.nan), "inf": update + torch.inf}.get(what, update)

    def answer(self, reply, session):
        arrays, name = dict(reply.arrays), next(iter(reply.arrays))
        match self._now(session):
            case "shape":
                arrays[name] = arrays[name][:-1]
            case "missing":
                del arrays[name]
            case "unknown":
                arrays["extra"] = np.zeros(3, np.float32)
            case "dtype":
                arrays[name] = arrays[name].astype(np.float64)
            case "examples":
                return replace(reply, n_examples=10**9)
            case "silent":
                return replace(reply, arrays=None)
        return replace(reply, arrays=arrays)


REASONS = {
    "raise": "RuntimeError: out of memory",
    "exit": "its worker process was killed (3 times)",
    "hang": "timed out after 5 s",
    "nan": "NaN or infinite",
    "inf": "NaN or infinite",
    "shape": "has shape",
    "missing": "is missing",
    "unknown": "unknown tensor 'extra'",
    "dtype": "has dtype float64, expected float32",
    "examples": "claims 1e+09 examples",
    "silent": "holds no tensors",
}


@pytest.fixture(scope="module", autouse=True)
def _open_session():
    """A Ray session that its user has opened: runs use it, and leave it open."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    assert ray.is_initialized()
    ray.shutdown()


@pytest.fixture
def ray_tables(tables):
    engine = {"name": "ray", "workers": 2, "client_timeout_s": 5}
    return {**tables, "attack": {"tamper": "model_replacement"}, "engine": engine}


def test_each_odd_client_is_refused_by_id_and_the_next_round_is_whole(ray_tables, tmp_path):
    plan = tuple(what for reason in REASONS for what in (reason, ""))
    ray_tables["federation"]["rounds"] = len(plan)
    result = run(ray_tables, attack=Attack(tamper=Misbehave(plan=plan)), out=tmp_path / "run")
    from hauberk.experiments.runner.records import read_rounds

    for what, line in zip(plan, read_rounds(result.folder), strict=True):
        if what:
            assert list(line["refused"]) == ["0"], what
            assert REASONS[what] in line["refused"]["0"], what
            assert list(line["weights"]) == ["1", "2", "3", "4"], what
        else:
            assert line["refused"] == {}
            assert len(line["weights"]) == 5


def test_too_few_replies_stop_the_run_and_keep_what_was_finished(ray_tables, tmp_path):
    ray_tables["aggregator"] = {"name": "krum", "n_malicious": 1}
    attack = Attack(tamper=Misbehave(plan=("", "raise")))
    with pytest.raises(
        RoundFailed, match=r"round 2 failed: Krum needs .*f=1 and n_clients=4.*client 0: .*out of memory"
    ):
        run(ray_tables, attack=attack, out=tmp_path / "run")
    lines = (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert '"failed": "round 2 failed' in lines[1]
    assert (tmp_path / "run" / "checkpoint" / "state-0001.json").exists()
