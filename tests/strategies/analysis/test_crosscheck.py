from dataclasses import dataclass
from typing import Literal

import pytest
import torch

from hauberk.strategies import (
    AGGREGATORS,
    NNM,
    Aggregation,
    AggregationContext,
    FedAvg,
    MultiKrum,
    chain,
    layout_of,
)
from hauberk.strategies.analysis.crosscheck import Believed, conventions, crosscheck


@dataclass(frozen=True, kw_only=True)
class Named:
    """A stranger's rule: a Literal tells its conventions."""

    convention: Literal["first", "last"] = "last"

    def __call__(self, updates, *, context=None, state=None):
        weight = torch.zeros(len(updates), dtype=torch.float64)
        weight[0 if self.convention == "first" else -1] = 1
        return Aggregation(updates[0], weight)


@dataclass(frozen=True, kw_only=True)
class Silent:
    """Without weights, and with a convention whose other names nobody can know."""

    convention: str = "one"

    def __call__(self, updates, *, context=None, state=None):
        return Aggregation(updates[0])


def test_conventions_are_those_of_the_type():
    assert conventions(Named) == ("last", "first")
    assert conventions(Silent) == ("one",)
    assert conventions(FedAvg) == ()


def test_every_rule_with_conventions_has_a_default_and_others():
    found = {name: conventions(kind) for name, kind in AGGREGATORS.items() if conventions(kind)}
    assert {"krum", "multi_krum", "bulyan", "rfa", "flame"} <= found.keys()
    assert found["flame"] == ("paper", "zhmzm")
    assert all(len(set(names)) == len(names) > 1 for names in found.values())


def test_rows_say_who_was_believed_and_who_could_not_work():
    updates = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    known = AggregationContext(client_ids=(7, 3, 5, 1))
    rules = {"fedavg": FedAvg, "named": Named, "silent": Silent, "krum": AGGREGATORS["krum"]}
    rows = crosscheck(updates, rules, context=known, n_malicious=1)
    assert rows[:3] == [
        Believed(rule="named", convention="last", weight={7: 0, 3: 0, 5: 0, 1: 1}),
        Believed(rule="named", convention="first", weight={7: 1, 3: 0, 5: 0, 1: 0}),
        Believed(rule="silent", convention="one", weight=None),
    ]
    assert "2f + 2 < n_clients, got f=1 and n_clients=4" in rows[3].error
    assert {row.weight is None for row in rows[3:]} == {True}


def test_one_rule_may_have_settings_of_its_own_and_all_may_come_after_others():
    updates = torch.randn(11, 30, generator=torch.Generator().manual_seed(1))
    rules = {name: AGGREGATORS[name] for name in ("krum", "multi_krum")}

    def believed(**settings):
        rows = crosscheck(updates, rules, n_malicious=1, **settings)
        return {row.rule: row.weight for row in rows if row.convention == "paper"}

    plain, own = believed(), believed(own={"multi_krum": {"n_selected": 3, "name": "multi_krum"}})
    assert own["krum"] == plain["krum"]
    assert sum(value > 0 for value in own["multi_krum"].values()) == 3
    mixed = believed(before=[NNM(n_malicious=1)])
    expected = chain(NNM(n_malicious=1), MultiKrum(n_malicious=1))(updates).weight.tolist()
    assert list(mixed["multi_krum"].values()) == pytest.approx(expected)


def test_all_rules_of_the_table_on_one_matrix():
    updates = torch.randn(11, 30, generator=torch.Generator().manual_seed(1))
    updates[4] += 5
    known = AggregationContext(
        parameters=torch.zeros(30), layout=layout_of({"a": torch.zeros(20), "b": torch.zeros(10)})
    )
    before = updates.clone()
    rows = crosscheck(updates, AGGREGATORS, context=known, n_malicious=1)
    assert [row.error for row in rows] == [None] * len(rows)
    assert torch.equal(updates, before)
    for row in rows:
        if row.weight is not None:
            assert sum(row.weight.values()) == pytest.approx(1)
        if row.rule in ("krum", "multi_krum", "bulyan"):
            assert row.weight[4] == 0
    assert rows == crosscheck(updates, AGGREGATORS, context=known, n_malicious=1)
