"""Flower's own runtime: who may lie where the clients are real machines."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flwr.superlink.grid import InMemoryGrid

from hauberk.experiments.engines import flower
from hauberk.experiments.spec.flat import flatten
from hauberk.tasks.errors import UserError


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
