"""At the size of a real model: weights of std 0.05 that a round moves by 1e-5."""

import pytest
import torch

from hauberk.strategies import AGGREGATORS, AggregationContext

D = 4_000_000


@pytest.fixture(scope="module")
def sent():
    """Updates as the server sees them, replies minus what was sent, float32 [10, 4M]; client k is the k-th smallest."""
    rng = torch.Generator().manual_seed(0)
    weights = torch.randn(D, generator=rng) * 0.05
    rows = torch.empty(10, D)
    for k in range(10):
        reply = weights + torch.randn(D, generator=rng) * 1e-5 * (1 + 0.2 * k)
        torch.sub(reply, weights, out=rows[k])
    return rows, AggregationContext(parameters=weights)


@pytest.mark.parametrize(
    ("rule", "settings", "believed"),
    [
        ("krum", {"n_malicious": 2}, {0}),
        ("multi_krum", {"n_malicious": 2, "n_selected": 4}, {0, 1, 2, 3}),
        ("mda", {"n_malicious": 2}, set(range(8))),
        ("dim_krum", {"n_malicious": 2}, set(range(6))),
    ],
)
def test_the_right_clients_are_picked(sent, rule, settings, believed):
    rows, context = sent
    weight = AGGREGATORS[rule](**settings)(rows, context=context).weight
    assert set(weight.nonzero().flatten().tolist()) == believed
