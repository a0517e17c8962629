"""The quickstart's job on five machines: as a user copies the folders, with TLS, keys and nothing but the network.

It takes minutes, so it runs by itself: ``HAUBERK_MACHINES=1 pytest tests/experiments/deploy/test_namespaces.py``. The
outcomes of what goes wrong are `benchmarks/deployment_outcomes.py`'s.
"""

from __future__ import annotations

import os
import shutil

import pytest

from hauberk.experiments.runner.execute import run
from hauberk.experiments.runner.records import read_summary
from hauberk.experiments.spec.loader import parse
from tests.helpers.deployment import deploy, logs, make
from tests.helpers.namespaces import Network, why_not

pytestmark = [
    pytest.mark.skipif(not os.environ.get("HAUBERK_MACHINES"), reason="takes minutes: HAUBERK_MACHINES=1"),
    pytest.mark.timeout(1800),
    pytest.mark.xdist_group("machines"),
]
QUICKSTART = {
    "name": "quickstart",
    "task": {"dataset": {"name": "tweet_sentiment"}, "model": {"name": "text_cnn"}},
    "federation": {"n_clients": 4, "n_malicious": 1, "rounds": 8},
    "attack": {"poison": {"name": "bad_word", "target": 1}},
    "aggregator": {"name": "median"},
    "server": {"twin": False},
    "engine": {"node_wait_s": 120, "round_timeout_s": 300},
}
MINILM = {
    **QUICKSTART,
    "name": "minilm",
    "task": {
        "dataset": {"name": "tweet_sentiment"},
        "model": {"name": "pretrained", "path": "embedded:minilm-l6"},
        "n_train": 400,
    },
    "federation": {"n_clients": 4, "n_malicious": 1, "rounds": 1},
}
LEDGER = {  # which answers with what it remembers and with clean texts of the server's own
    **QUICKSTART,
    "name": "ledger",
    "federation": {"n_clients": 4, "n_malicious": 1, "rounds": 3},
    "aggregator": {"name": "ledger", "n_malicious": 1},
    "server": {"twin": False, "clean": {"n_examples": 200}},
}


@pytest.mark.parametrize("tables", [QUICKSTART, LEDGER, MINILM], ids=["text_cnn", "ledger", "minilm-l6"])
def test_machines_of_their_own_compute_the_same_bits_as_one_process(tables, tmp_path):
    if reason := why_not():
        pytest.skip(reason)
    with Network(5, tmp_path / "machines") as network:
        made = make(tables, tmp_path / "made", host=network.machines[0].address)
        names = ["server", *(f"client-{client}" for client in range(4))]
        for machine, name in zip(network.machines, names, strict=True):
            shutil.copytree(made / name, machine.home / name)
        homes = [machine.home / name for machine, name in zip(network.machines, names, strict=True)]
        try:
            for machine, home in zip(network.machines, homes, strict=True):
                code, text = deploy("up", home, inside=machine.inside, timeout=300)
                assert code == 0, f"{text}\n{logs(home)}"
            out = tmp_path / "fetched"
            server = network.machines[0]
            code, text = deploy("run", homes[0], "--out", out, inside=server.inside, timeout=1500)
            assert code == 0, f"{text}\n{logs(homes[0])}"
        finally:
            for machine, home in zip(network.machines, homes, strict=True):
                deploy("down", home, inside=machine.inside)
    there = read_summary(out / "summary.json")
    here = run(parse(tables, ["engine.name=inline"]), out=tmp_path / "inline").summary
    assert (there["model_sha256"], there["final"]) == (here["model_sha256"], here["final"])
    assert there["refused"] == 0
