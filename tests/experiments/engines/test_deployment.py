"""Flower's own runtime: who may lie where the clients are real machines."""

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


@pytest.fixture(autouse=True)
def _no_simulation(monkeypatch):
    monkeypatch.setattr(flower.ray, "is_initialized", lambda: False)


def worker(tables, partition, **node_config):
    config = {"partition-id": partition, **node_config}
    return flower.make_worker(SimpleNamespace(run_config=flatten(tables), node_config=config))


def attacks(made, partition):
    return [number for number in (1, 2, 3) if made.attack_of(partition, number)]


def test_a_server_of_real_machines_refuses_to_rewrite_what_they_send(tables, tmp_path):
    tables["attack"]["forge"] = "mimic"
    context = SimpleNamespace(run_config={**flatten(tables), "out": str(tmp_path / "runs")})
    with pytest.raises(UserError, match=r"^attack\.forge: 'mimic' must be left to a simulation") as caught:
        flower.main(object(), context)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()
    flower.check_forge(flower.spec_of(context.run_config), object.__new__(InMemoryGrid))


def test_a_machine_attacks_only_where_its_own_configuration_and_the_spec_say_so(tables):
    assert attacks(worker(tables, 0), 0) == []
    assert attacks(worker(tables, 0, malicious=False), 0) == []
    assert attacks(worker(tables, 0, malicious=True), 0) == [1, 2, 3]
    assert attacks(worker(tables, 3), 3) == []


def test_a_malicious_machine_that_is_none_of_the_attackers_is_refused_with_both_numbers(tables):
    with pytest.raises(UserError, match=r"^malicious: .* got partition-id=3 and n_malicious=1$"):
        worker(tables, 3, malicious=True)
    tables["attack"]["schedule"] = {"name": "always", "ids": "random"}  # any may be drawn
    worker(tables, 3, malicious=True)
    del tables["attack"]
    assert (
        attacks(
            worker(tables | {"federation": {**tables["federation"], "n_malicious": 0}}, 3, malicious=True), 3
        )
        == []
    )


@pytest.fixture
def deployed(monkeypatch, tables, tmp_path):
    """Runs the spec on five machines, nodes 100 to 104, and returns the run's folder."""
    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    run_config = {
        **flatten(tables),
        "out": str(tmp_path / "runs"),
        "engine.node_wait_s": 0.05,
        "server.twin": False,
    }

    def play(partitions=None):
        of = {**{100 + client: client for client in range(5)}, **(partitions or {})}
        grid = LocalGrid({node: node_of(flower.client_app, node, of[node], run_config) for node in of})
        flower.main(grid, SimpleNamespace(run_config=run_config))
        return flower.folder_of(run_config, flower.spec_of(run_config))

    return play


def test_a_deployment_refuses_the_odd_machine_by_its_node_and_goes_on(deployed, capsys):
    folder = deployed({104: 5})
    lines = read_rounds(folder)
    reason = "it says that it is client 5, and the 5 clients are numbered from 0 to 4"
    assert lines[0]["refused_nodes"] == {"104": reason}
    assert [list(line["weights"]) for line in lines] == [["0", "1", "2", "3"]] * 3
    assert all(
        line["refused"] == {"4": "error reply: absent: no node says that it is this client"} for line in lines
    )
    assert f"warning: node 104 is refused: {reason}" in " ".join(capsys.readouterr().out.split())


def test_where_the_runs_folder_has_a_table_of_keys_a_stranger_is_refused(deployed, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / flower.KEYS).write_text("")
    with pytest.raises(
        UserError, match=r"^0 of 5 clients are there: nobody can train. node 100 is refused: .* no client's"
    ):
        deployed()


def test_a_simulation_with_another_number_of_nodes_says_what_to_type():
    grid = SimpleNamespace(run=SimpleNamespace(federation_id="@me/local"))
    assert flower.advice(grid, 7) == ("type: flwr federation simulation-config @me/local --num-supernodes 7")
