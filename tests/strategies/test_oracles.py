"""Our rules beside independent implementations, where they share the convention; where they do not, the test says why.

Runs where the oracles are installed (`make oracles`): byzfl (MIT), geom-median (GPL, so that it is run and never used),
and Flower's legacy rules.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.server.strategy import aggregate as legacy
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies import AGGREGATORS, PRE_AGGREGATORS, AggregationContext
from tests.helpers.examples import examples
from tests.helpers.oracles import byzfl

F = 2
theirs, pre = byzfl("aggregators"), byzfl("preaggregators")
with_byzfl = pytest.mark.skipif(theirs is None, reason="byzfl is not installed: make oracles")
seeds = st.integers(0, 2**32 - 1)
matrices = seeds.map(lambda seed: np.random.default_rng(seed).normal(size=(11, 7)).astype(np.float32))

PAIRS = [
    ("fedavg", {}, "Average", {}),
    ("median", {}, "Median", {}),
    ("trimmed_mean", {"n_malicious": F}, "TrMean", {"f": F}),
    ("krum", {"n_malicious": F, "convention": "byzfl"}, "Krum", {"f": F}),
    ("multi_krum", {"n_malicious": F, "convention": "byzfl"}, "MultiKrum", {"f": F}),
    ("rfa", {"convention": "byzfl"}, "GeometricMedian", {}),
    ("meamed", {"n_malicious": F}, "Meamed", {"f": F}),
    ("mda", {"n_malicious": F}, "MDA", {"f": F}),
    ("monna", {"n_malicious": F, "pivot": 0}, "MoNNA", {"f": F, "idx": 0}),
    ("centered_clip", {"threshold": 1.5, "n_iterations": 3}, "CenteredClipping", {"L": 3, "tau": 1.5}),
]
PRE_PAIRS = [
    ("nnm", {"n_malicious": F}, "NNM", {"f": F}),
    ("clip", {"threshold": 2.0}, "Clipping", {"c": 2.0}),
    ("arc", {"n_malicious": F}, "ARC", {"f": F}),
]


@with_byzfl
@pytest.mark.parametrize(("name", "ours", "cls", "given_to_them"), PAIRS, ids=[pair[0] for pair in PAIRS])
@given(matrix=matrices)
@examples(15)
def test_a_rule_is_byzfls(name, ours, cls, given_to_them, matrix):
    expected = getattr(theirs, cls)(**given_to_them)(matrix.copy())
    found = AGGREGATORS[name](**ours)(torch.from_numpy(matrix.copy())).update
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-4, atol=2e-5)


@with_byzfl
@pytest.mark.parametrize(
    ("name", "ours", "cls", "given_to_them"), PRE_PAIRS, ids=[pair[0] for pair in PRE_PAIRS]
)
@given(matrix=matrices)
@examples(15)
def test_a_pre_aggregator_is_byzfls(name, ours, cls, given_to_them, matrix):
    expected = getattr(pre, cls)(**given_to_them)(matrix.copy())
    found = PRE_AGGREGATORS[name](**ours)(torch.from_numpy(matrix.copy()))
    np.testing.assert_allclose(found.numpy(), np.asarray(expected), rtol=2e-4, atol=2e-5)


def results(matrix):
    return [([row.astype(np.float64)], 1) for row in matrix]


@given(matrix=matrices)
@examples(15)
def test_flowers_legacy_rules_agree(matrix):
    rows = torch.from_numpy(matrix.copy())
    agree = {
        "krum": legacy.aggregate_krum(results(matrix), F, 0),
        "multi_krum": legacy.aggregate_krum(results(matrix), F, 11 - F),
        "median": legacy.aggregate_median(results(matrix)),
        "trimmed_mean": legacy.aggregate_trimmed_avg(results(matrix), F / 11 + 1e-9),
    }
    for name, (expected,) in agree.items():
        kind = AGGREGATORS[name]
        found = kind(n_malicious=F)(rows) if name != "median" else kind()(rows)
        np.testing.assert_allclose(found.update.numpy(), expected, rtol=1e-4, atol=1e-5, err_msg=name)


@given(matrix=matrices)
@examples(15)
def test_flowers_legacy_bulyan_agrees(matrix):
    (expected,) = legacy.aggregate_bulyan(results(matrix), F, legacy.aggregate_krum, to_keep=0)
    found = AGGREGATORS["bulyan"](n_malicious=F)(torch.from_numpy(matrix.copy())).update
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)


@given(matrix=matrices)
@examples(15)
def test_rfa_goes_to_the_converged_geometric_median(matrix):
    oracle = pytest.importorskip("geom_median.numpy", reason="geom-median is not installed: make oracles")
    expected = oracle.compute_geometric_median(list(matrix.astype(np.float64)), eps=1e-9, maxiter=500).median
    rule = AGGREGATORS["rfa"](max_iterations=500, tolerance=0.0)
    np.testing.assert_allclose(
        rule(torch.from_numpy(matrix.copy())).update.numpy(), expected, rtol=1e-3, atol=1e-4
    )


@with_byzfl
def test_byzfls_krum_is_not_the_papers():
    """It sums n - f - 1 neighbours where the paper has n - f - 2: on some rows another client wins."""
    winners = []
    for seed in range(300):
        rows = torch.from_numpy(np.random.default_rng(seed).normal(size=(11, 6)).astype(np.float32))
        rules = [AGGREGATORS["krum"](n_malicious=3, convention=name) for name in ("paper", "byzfl")]
        first, second = (int(rule(rows).weight.argmax()) for rule in rules)
        winners.append(first == second)
    assert 0.75 < np.mean(winners) < 0.95


@with_byzfl
def test_byzfls_geometric_median_is_not_one():
    """Three steps from zero with a smoothing of 0.1 end short of it: [3.79, 4.79, 5.79] for a true [4, 5, 6]."""
    rows = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]])
    short = AGGREGATORS["rfa"](convention="byzfl")(rows).update
    assert short[0] == pytest.approx(3.78788764, rel=1e-5)
    assert AGGREGATORS["rfa"]()(rows).update.tolist() == pytest.approx([4, 5, 6], abs=1e-3)


def test_flowers_new_krum_loses_the_digits_of_small_updates():
    """Its distances are float32 products of whole weights: of 4 million weights of std 0.05 nothing is left."""
    from flwr.app import Array, ArrayRecord, RecordDict
    from flwr.serverapp.strategy.multikrum import select_multikrum

    rng, n, d = torch.Generator().manual_seed(0), 10, 1_000_000
    weights = torch.randn(d, generator=rng) * 0.05
    updates = torch.stack([torch.randn(d, generator=rng) * 1e-5 * (1 + 0.2 * k) for k in range(n)])
    truth = {0, 1, 2, 3}
    contents = [RecordDict({"arrays": ArrayRecord({"w": Array((weights + row).numpy())})}) for row in updates]
    flowers = {
        next(k for k, c in enumerate(contents) if c is chosen) for chosen in select_multikrum(contents, 2, 4)
    }
    ours = AGGREGATORS["multi_krum"](n_malicious=2, n_selected=4)(
        updates, context=AggregationContext(parameters=weights)
    )
    assert set(ours.weight.nonzero().flatten().tolist()) == truth
    assert flowers != truth
