"""A worker or a node that is lost costs time alone: the same bits, nobody refused, and the record says it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import pytest
from ray.cluster_utils import Cluster

from hauberk.attacks import Attack, Tamper
from hauberk.experiments import run
from hauberk.experiments.runner.progress import Quiet
from hauberk.experiments.runner.run_dir import read_rounds
from hauberk.tasks.errors import UserError

pytestmark = pytest.mark.xdist_group("processes")  # one at a time: each starts several of its own

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test


@dataclass(frozen=True, kw_only=True)
class DieOnce(Tamper):
    """Trains honestly, but the first time in round 2 its process dies in the middle."""

    marker: str

    def train(self, session):
        report = session.train()
        if session.round == 2 and not Path(self.marker).exists():
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return report


class AfterRound(Quiet):
    """Does something once, after the first round."""

    def __init__(self, act):
        self._act = act

    def round_finished(self, line):
        if line["round"] == 1:
            self._act()


@pytest.fixture
def honest(tables):
    """Four clients, nobody lies; and the run in this process that all others must equal."""
    tables["federation"] = {"n_clients": 4, "n_malicious": 0, "rounds": 3}
    del tables["attack"]
    return tables


@pytest.fixture(scope="module")
def cluster():
    """Two Ray nodes on this machine, of one core each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    cluster.second = cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def on_ray(tables):
    return {**tables, "engine": {"name": "ray", "workers": 2}}


def test_a_worker_killed_in_the_middle_of_a_round_changes_no_bit(honest, cluster, tmp_path):
    honest["federation"] |= {"n_malicious": 1}
    honest["attack"] = {"tamper": "model_replacement"}
    marker = tmp_path / "died"
    marker.touch()
    attack = Attack(tamper=DieOnce(marker=str(marker)))
    reference = run(honest, attack=attack, out=tmp_path / "inline").summary
    marker.unlink()
    result = run(on_ray(honest), attack=attack, out=tmp_path / "ray", address=cluster.address)
    assert marker.exists()
    assert result.summary["model_sha256"] == reference["model_sha256"]
    lines = read_rounds(result.folder)
    assert [line["refused"] for line in lines] == [{}] * 3
    assert [len(line["lost"]) for line in lines] == [0, 1, 0]
    (loss,) = lines[1]["lost"]
    assert (loss["client"], loss["reason"]) == (0, "its worker process was killed")


def test_a_lost_node_changes_no_bit_refuses_nobody_and_is_named(honest, cluster, tmp_path):
    reference = run(honest, out=tmp_path / "inline").summary

    def lose():
        cluster.remove_node(cluster.second, allow_graceful=False)
        time.sleep(5)  # so that a run this short does not end before anybody can notice

    result = run(on_ray(honest), out=tmp_path / "ray", screen=AfterRound(lose), address=cluster.address)
    assert result.summary["model_sha256"] == reference["model_sha256"]
    lines = read_rounds(result.folder)
    assert [line["refused"] for line in lines] == [{}] * 3
    (loss,) = [loss for line in lines for loss in line["lost"]]
    assert loss["reason"] == "its node was lost"
    assert max(line["wall"] for line in lines) < 60


def test_an_address_where_nothing_answers_or_that_nobody_uses_is_one_line(honest, tmp_path):
    with socket.socket() as unheard:  # bound, and nobody listens
        unheard.bind(("127.0.0.1", 0))
        nowhere = f"127.0.0.1:{unheard.getsockname()[1]}"
        with pytest.raises(
            UserError, match=rf"^address: no Ray cluster answers at '{nowhere}': .*"
        ) as caught:
            run(on_ray(honest), out=tmp_path / "a", address=nowhere)
    assert "\n" not in str(caught.value)
    with pytest.raises(
        UserError, match=r"^address: only engine\.name = 'ray' uses a cluster, got 'inline' and 'auto'$"
    ):
        run(honest, out=tmp_path / "b", address="auto")
