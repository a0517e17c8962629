"""``flwr run .``: Flower's own simulation; real machines are left to ``hauberk deploy``."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.grid import InMemoryGrid

from hauberk.experiments.engines import flower
from hauberk.experiments.runner.records import read_rounds
from hauberk.experiments.spec.flat import flatten
from hauberk.tasks.errors import UserError
from tests.helpers.local_grid import LocalGrid, node_of


class Simulated(LocalGrid, InMemoryGrid):
    """A grid of this process that says it is a simulation's."""


@pytest.fixture
def simulated(monkeypatch, tables, tmp_path):
    """Runs the spec on five nodes, 100 to 104, and returns the run's folder."""
    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    run_config = {
        **flatten(tables),
        "out": str(tmp_path / "runs"),
        "engine.node_wait_s": 0.05,
        "server.twin": False,
    }

    def play(kind, partitions=None):
        of = {**{100 + client: client for client in range(5)}, **(partitions or {})}
        grid = kind({node: node_of(flower.client_app, node, of[node], run_config) for node in of})
        flower.main(grid, SimpleNamespace(run_config=run_config))
        return flower.folder_of(run_config, flower.spec_of(run_config))

    return play


def test_real_machines_are_left_to_deploy(simulated, tmp_path):
    with pytest.raises(UserError, match=r"^flwr run: .* hauberk deploy runs on machines of their own$"):
        simulated(LocalGrid)
    assert not (tmp_path / "runs").exists()


def test_an_odd_node_is_refused_by_its_id_and_the_others_go_on(simulated, capsys):
    folder = simulated(Simulated, {104: 5})
    lines = read_rounds(folder)
    reason = "it says that it is client 5, and the 5 clients are numbered from 0 to 4"
    assert lines[0]["refused_nodes"] == {"104": reason}
    assert [list(line["weights"]) for line in lines] == [["0", "1", "2", "3"]] * 3
    assert all(
        line["refused"] == {"4": "error reply: absent: no node says that it is this client"} for line in lines
    )
    assert f"warning: node 104 is refused: {reason}" in " ".join(capsys.readouterr().out.split())


def test_a_simulation_with_another_number_of_nodes_says_what_to_type():
    grid = SimpleNamespace(run=SimpleNamespace(federation_id="@me/local"))
    assert flower.advice(grid, 7) == ("type: flwr federation simulation-config @me/local --num-supernodes 7")
