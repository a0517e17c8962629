"""Our rules beside the official code of their papers, where it is there: `make oracles` clones it into `.oracles`.

The repositories (JiiahaoXU/AlignIns, siquanhuang/Multi-metrics, zaixizhang/FLDetector) have no packages, and import
what is not needed here, mxnet among it: functions are taken out of their files one by one and run on numpy or torch.
FLCert has no official code that is public.
"""

from __future__ import annotations

import ast
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hauberk.strategies import AggregationContext
from hauberk.strategies.aggregators.align_ins import AlignIns
from hauberk.strategies.aggregators.multi_metrics import MultiMetrics
from hauberk.strategies.kernels.gap_statistic import more_than_one_group
from hauberk.strategies.kernels.quasi_newton import hessian_product
from tests.helpers.examples import examples

OFFICIAL = os.environ.get("HAUBERK_OFFICIAL", "")
pytestmark = pytest.mark.skipif(not OFFICIAL, reason="the official code is not here: make oracles")
seeds = st.integers(0, 2**32 - 1)


def taken(file: str, *names: str, **namespace: Any) -> dict[str, Any]:
    """Runs the definitions of these names, classes or functions at any depth, of an official file; returns them."""
    tree = ast.parse((Path(OFFICIAL) / file).read_text())
    found = [node for node in ast.walk(tree) if getattr(node, "name", None) in names]
    exec(compile(ast.Module(found, []), file, "exec"), namespace)
    return namespace


@given(seed=seeds)
@examples(25)
def test_align_ins(seed):
    rng = torch.Generator().manual_seed(seed)
    updates, model = torch.randn(9, 200, generator=rng) + 0.3, torch.randn(200, generator=rng)
    # They take integers from the rows of argwhere, which numpy no longer gives.
    older = SimpleNamespace(std=np.std, median=np.median, abs=np.abs, array=np.array, argwhere=np.flatnonzero)
    names = {"torch": torch, "np": older, "logging": logging}
    code = taken("AlignIns/src/aggregation.py", "agg_alignins", "agg_avg", **names)
    given_to_them = SimpleNamespace(num_corrupt=0, sparsity=0.3, lambda_s=1.0, lambda_c=1.0)
    theirs = SimpleNamespace(args=given_to_them, agent_data_sizes=[1] * 9)
    theirs.agg_avg = lambda chosen: code["agg_avg"](theirs, chosen)
    expected = code["agg_alignins"](theirs, dict(enumerate(updates.clone())), model)
    found = AlignIns()(updates, context=AggregationContext(parameters=model)).update
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-5)


@given(seed=seeds)
@examples(25)
def test_multi_metrics(seed):
    rng = torch.Generator().manual_seed(seed)
    updates = torch.randn(10, 60, generator=rng) * (0.5 + torch.rand(10, 1, generator=rng))
    model = torch.randn(60, generator=rng)
    names = ("vectorize_net", "load_model_weight", "Defense", "Multi_metrics")
    code = taken("Multi-metrics/defense.py", *names, torch=torch, np=np, logger=logging.getLogger())
    nets = [nn.ParameterList([nn.Parameter(model + update)]) for update in updates]
    (net,), _ = code["Multi_metrics"](10, 1).exec(nets, [1] * 10, list(range(10)), "cpu")
    found = MultiMetrics()(updates, context=AggregationContext(parameters=model)).update
    torch.testing.assert_close(model + found.float(), net[0].detach(), rtol=1e-4, atol=1e-5)


class Array(np.ndarray):
    """A numpy array that answers as mxnet's do."""

    def asnumpy(self):
        return np.asarray(self)


def as_mxnet() -> dict[str, Any]:
    """The names that the official FLDetector takes from mxnet, on numpy."""
    nd = SimpleNamespace(
        concat=lambda *parts, dim: np.concatenate(parts, axis=dim).view(Array),
        dot=np.dot,
        diag=lambda values: np.diag(values).view(Array),
        array=lambda values, ctx: np.array(values).view(Array),
        linalg=SimpleNamespace(inverse=np.linalg.inv),
    )
    return {"nd": nd, "np": np, "mx": SimpleNamespace(gpu=lambda index: None)}


@given(seed=seeds, m=st.integers(1, 5))
@examples(25)
def test_fldetectors_hessian_product(seed, m):
    rng = np.random.default_rng(seed)
    curvature = rng.uniform(0.5, 2, size=(40, 1))
    steps = [rng.normal(size=(40, 1)).view(Array) for _ in range(m)]
    changes, step = [(curvature * one).view(Array) for one in steps], rng.normal(size=(40, 1)).view(Array)
    code = taken("FLDetector/train_mnist.py", "lbfgs", **as_mxnet())
    expected = code["lbfgs"](SimpleNamespace(gpu=-1), steps, changes, step)
    ours = [
        [torch.from_numpy(np.asarray(one)[:, 0].copy()) for one in each] for each in (steps, changes, [step])
    ]
    found = hessian_product(ours[0], ours[1], ours[2][0])(slice(0, 40))
    np.testing.assert_allclose(found.numpy(), np.asarray(expected)[:, 0], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("groups", [1, 2])
def test_fldetectors_gap_statistic(groups):
    kmeans = pytest.importorskip("sklearn.cluster").KMeans
    code = taken("FLDetector/train_mnist.py", "detection1", np=np, KMeans=kmeans)
    scores = np.concatenate([np.linspace(0, 1, 20), np.linspace(0, 1, 8) + 10 * (groups - 1)])
    found = more_than_one_group(torch.from_numpy(scores), torch.Generator().manual_seed(0))
    assert found == (groups == 2)
    assert found == bool(code["detection1"](scores, 0))
