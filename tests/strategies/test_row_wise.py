"""Rows are aggregated over the clients that have them, and over no others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hauberk.strategies import AGGREGATORS, AggregationContext
from hauberk.strategies.layout import layout_of
from hauberk.strategies.row_wise import RowWise

LAYOUT = layout_of({"table": torch.zeros(4, 2), "bias": torch.zeros(3)})
CONTEXT = AggregationContext(layout=LAYOUT, client_ids=(3, 5, 6, 9), n_examples=(1.0, 1.0, 2.0, 4.0))
TABLES = frozenset({"table"})
BIASES = torch.arange(12.0).view(4, 3)


def updates(*tables):
    """The updates of four clients, whose rows of the table are filled with these numbers."""
    rows = torch.tensor(tables, dtype=torch.float32)[:, :, None].expand(4, 4, 2)
    return torch.cat([rows.reshape(4, 8), BIASES], dim=1)


SEEN = updates([1, 0, 2, 0], [3, 0, 4, 0], [8, 0, 0, 0], [0, 0, 0, -7])
# row 0 has clients 0 to 2, row 1 nobody, row 2 clients 0 and 1, row 3 client 3


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (AGGREGATORS["fedavg"](), [4, 0, 3, -7]),
        (AGGREGATORS["median"](), [3, 0, 3, -7]),
        (AGGREGATORS["trimmed_mean"](n_malicious=1), [3, 0, 3, -7]),
        (AGGREGATORS["fedavg"](weighting="examples", cap=10), [(1 + 3 + 2 * 8) / 4, 0, 3, -7]),
    ],
    ids=repr,
)
def test_each_row_counts_its_own_clients(rule, expected):
    result = RowWise(rule, TABLES)(SEEN, context=CONTEXT)
    assert result.update[:8:2].tolist() == pytest.approx(expected)
    alone = rule(BIASES, context=replace(CONTEXT, layout=None)).update
    assert torch.equal(result.update[8:], alone)
    assert result.report["rows/of_nobody"] == 0.25
    assert result.report["rows/of_one_or_two"] == 0.5


@pytest.mark.parametrize("name", sorted(name for name, rule in AGGREGATORS.items() if rule.row_wise))
def test_where_everybody_has_every_row_it_is_the_rule_itself(name):
    rule = AGGREGATORS[name](
        **({"n_malicious": 1} if "n_malicious" in AGGREGATORS[name].__dataclass_fields__ else {})
    )
    dense = torch.randn(4, LAYOUT.n_params, generator=torch.Generator().manual_seed(0))
    found = RowWise(rule, TABLES)(dense, context=CONTEXT).update
    assert torch.allclose(found, rule(dense, context=CONTEXT).update, atol=1e-7)


def test_the_rules_that_may_leave_rows_out_are_those_of_coordinates():
    assert {name for name, rule in AGGREGATORS.items() if rule.row_wise} == {
        "fedavg", "median", "trimmed_mean", "meamed", "sign_majority",
    }  # fmt: skip
