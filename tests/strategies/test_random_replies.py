"""The guard on replies drawn at random: it accepts or refuses in one line; what it accepts comes back from a file."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from torch.utils import _pytree as pytree

from hauberk.server import checkpoint
from hauberk.server.state import ServerState
from hauberk.strategies import Reply, UpdateMatrix, layout_of
from hauberk.strategies.client_state import DTYPES

ARRAYS = {"w": np.ones((2, 3), np.float32), "b": np.zeros((), np.float32), "steps": np.array(7)}
LAYOUT = layout_of(ARRAYS)
RUN = {"spec": "a"}

numbers = (
    st.integers()
    | st.floats()
    | st.booleans()
    | st.sampled_from([10**400, -(10**30), 2**63, np.float32(2), np.int64(3)])
)
texts = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["w", "\ud800", "x" * 300, "y" * 20_000, "a/b", ""]
)
arrays = st.builds(
    lambda dtype, shape, fill: np.full(shape, fill).astype(dtype),
    st.sampled_from([*sorted(DTYPES), "complex64", "U1", "object", "S2", ">f4", "uint16", "datetime64[s]"]),
    st.sampled_from([(), (0,), (1,), (2, 3), (3, 2), (1, 1, 1, 4)]),
    st.sampled_from([0, 1]),
)
tensors = st.builds(
    lambda dtype, shape, fill: torch.full(shape, fill).to(dtype),
    st.sampled_from([torch.float32, torch.bool, torch.int8, torch.float64, torch.bfloat16, torch.complex64]),
    st.sampled_from([(), (0,), (5,), (2, 2)]),
    st.sampled_from([0.0, 1.0, float("nan"), float("-inf")]),
) | st.sampled_from(
    [torch.ones(1).expand(10**13), torch.ones(4)[::2], torch.ones(2, 3).T, torch.eye(3).to_sparse()]
)
leaves = (
    st.none()
    | numbers
    | texts
    | arrays
    | tensors
    | st.sampled_from([b"x", {1}, object(), Fraction(1, 3), 1j, range(3)])
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4)
    | st.lists(inner, max_size=3).map(tuple)
    | st.dictionaries(texts | st.integers(), inner, max_size=4),
    max_leaves=12,
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab/é", max_size=4) | st.just(torch.arange(3)),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("ab/é", max_size=2), inner, max_size=3),
)
odd_arrays = (
    st.dictionaries(texts, arrays, max_size=3).map(lambda odd: {**ARRAYS, **odd}) | st.none() | leaves
)


def either(good: st.SearchStrategy, odd: st.SearchStrategy) -> st.SearchStrategy:
    """Draws three good ones for an odd one, so that many replies are accepted and few are odd in one way alone."""
    return st.integers(0, 3).flatmap(lambda which: odd if which == 0 else good)


replies = st.builds(
    Reply,
    client_id=either(st.just(0), st.integers(-1, 2)),
    arrays=either(st.just(ARRAYS), odd_arrays),
    n_examples=either(st.just(5), numbers | leaves),
    state=either(st.dictionaries(st.text("ab/é", max_size=2), plain, max_size=3), trees),
    report=either(st.just({"loss": 0.5}), st.dictionaries(texts, leaves, max_size=4) | leaves),
    error=either(st.none(), texts | numbers),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoint")


@given(st.lists(replies, min_size=1, max_size=3))
def test_a_reply_is_accepted_or_refused_and_what_is_accepted_can_be_kept(folder, sent):
    matrix = UpdateMatrix([0, 1], LAYOUT, torch.zeros(LAYOUT.n_params))
    for reply in sent:
        matrix.add(reply)
    collected = matrix.close()
    event(f"{len(collected.client_ids)} accepted")
    for reason in collected.refused.values():
        assert reason.isprintable()
        assert len(reason) < 500
    json.dumps({"refused": collected.refused, "reports": collected.reports}, allow_nan=False).encode()
    checkpoint.save(folder, ServerState(1, torch.zeros(2), None, collected.states), RUN)
    back = checkpoint.load(folder, RUN).clients
    assert same(dict(back), collected.states)


def same(first, second) -> bool:
    """Returns whether two trees have the same form and bits."""
    one, two = pytree.tree_flatten(first), pytree.tree_flatten(second)
    return one[1] == two[1] and all(
        torch.equal(a, b) and a.dtype == b.dtype if torch.is_tensor(a) else type(a) is type(b) and a == b
        for a, b in zip(one[0], two[0], strict=True)
    )
