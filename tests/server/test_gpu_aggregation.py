"""A rule gives on another device what it gives in main memory, and everything comes back."""

from __future__ import annotations

import pytest
import torch

from hauberk.server.gpu_aggregation import ON_GPU, aggregate_on, aggregate_where_it_fits
from hauberk.strategies import AGGREGATORS, AggregationContext, DimKrum, Median
from hauberk.strategies.layout import Layout, Slot

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
SETTINGS = {"robust_learning_rate": {"threshold": 4}, "deepsight": {"n_inputs": 64}}
NOISY = {"weak_dp", "crfl", "flame"}  # their noise is drawn on the device


@pytest.fixture
def rows():
    return torch.randn(10, 6000, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def context():
    rng = torch.Generator().manual_seed(1)
    layout = Layout(
        (
            Slot("body", (5398,), 0, 5398),
            Slot("head.weight", (2, 300), 5398, 5998),
            Slot("head.bias", (2,), 5998, 6000),
        )
    )
    return AggregationContext(
        parameters=torch.randn(6000, generator=rng),
        layout=layout,
        root_update=torch.randn(6000, generator=rng),
        logits=lambda vector: vector[:128].view(64, 2).cpu(),
        round=1,
    )


def build(name):
    kind = AGGREGATORS[name]
    counts = {"n_malicious": 2} if "n_malicious" in kind.__dataclass_fields__ else {}
    return kind(**SETTINGS.get(name, {}), **counts)


def test_without_a_gpu_the_rule_is_called_as_it_is(rows, context):
    result = aggregate_where_it_fits(Median(), rows, context, None, "cpu")
    assert torch.equal(result.update, Median()(rows, context=context).update)
    assert ON_GPU not in result.report


def test_what_comes_back_is_the_rules_whole_result(rows, context):
    rule = DimKrum(n_malicious=2)
    first = rule(rows, context=context)
    there = aggregate_on("cpu", rule, rows, context, first.state)
    here = rule(rows, context=context, state=first.state)
    assert torch.equal(there.update, here.update)
    assert torch.equal(there.weight, here.weight)
    assert there.report == here.report
    assert there.state.keys() == here.state.keys()


@needs_gpu
@pytest.mark.parametrize("name", [name for name in AGGREGATORS if name not in NOISY])
def test_a_rule_gives_on_the_gpu_what_it_gives_in_main_memory(name, rows, context):
    rule = build(name)
    there = aggregate_where_it_fits(rule, rows, context, None, "cuda")
    here = rule(rows, context=context)
    assert there.report[ON_GPU] == 1.0
    assert there.update.device.type == "cpu"
    torch.testing.assert_close(there.update, here.update, rtol=1e-4, atol=1e-6)


@needs_gpu
def test_a_matrix_that_does_not_fit_stays_in_main_memory(rows, context, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (rows.nbytes, rows.nbytes))
    result = aggregate_where_it_fits(Median(), rows, context, None, "cuda")
    assert result.report[ON_GPU] == 0.0
    assert torch.equal(result.update, Median()(rows, context=context).update)
