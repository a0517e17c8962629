"""A worker or a node that is lost costs time alone: the same bits, nobody refused, and the record says it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import pytest
import ray
from ray.cluster_utils import Cluster

from hauberk.attacks import Attack, Tamper
from hauberk.experiments import run
from hauberk.experiments.engines import worker_slot
from hauberk.experiments.runner.run_dir import read_rounds
from hauberk.tasks.errors import UserError

pytestmark = [
    pytest.mark.xdist_group("processes"),  # one at a time: each starts several of its own
    pytest.mark.timeout(600),
]

WAIT_S = 150.0

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


@dataclass(frozen=True, kw_only=True)
class WaitOnNode(Tamper):
    """Trains honestly, but in round 2 waits until two nodes train, and on one of them for ever."""

    folder: str
    lost_node: str

    def train(self, session):
        if session.round == 2:
            node = ray.get_runtime_context().get_node_id()
            Path(self.folder, node).touch()
            wait_until(lambda: len(list(Path(self.folder).iterdir())) > 1)
            if node == self.lost_node:
                time.sleep(WAIT_S)
        return session.train()


def wait_until(true):
    end = time.monotonic() + WAIT_S
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"not true after {WAIT_S:g} s")
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    monkeypatch.setattr(worker_slot, "ANSWER_S", 60.0)  # a worker that is only slow counts as no loss


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
    honest["federation"] |= {"n_malicious": 2}
    honest["attack"] = {"tamper": "model_replacement"}
    lost, seen = cluster.second.node_id, tmp_path / "seen"
    seen.mkdir()

    def lose():
        wait_until((seen / lost).exists)
        cluster.remove_node(cluster.second, allow_graceful=False)

    attack = Attack(tamper=WaitOnNode(folder=str(seen), lost_node=lost))
    with ThreadPoolExecutor() as threads:
        loser = threads.submit(lose)
        result = run(on_ray(honest), attack=attack, out=tmp_path / "ray", address=cluster.address)
    loser.result()
    assert result.summary["model_sha256"] == reference["model_sha256"]
    lines = read_rounds(result.folder)
    assert [line["refused"] for line in lines] == [{}] * 3
    assert [len(line["lost"]) for line in lines] == [0, 1, 0]
    (loss,) = lines[1]["lost"]
    assert loss["client"] in (0, 1)
    assert loss["reason"] == "its node was lost"
    assert max(line["wall"] for line in lines) < WAIT_S


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
