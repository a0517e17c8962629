"""What a client wants to keep with the server is refused in one line where it is not plain, small and finite."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest
import torch

from hauberk.strategies import Guard, layout_of
from hauberk.strategies.client_state import MAX_DEPTH, MAX_ITEMS, MAX_KEY, MAX_TENSORS, MAX_TEXT, copied

LAYOUT = layout_of({"weight": np.zeros(3, np.float32)})  # 12 bytes; a mebibyte is allowed on top of any ratio
MEBIBYTE = 1 << 20


def nested(depth: int) -> object:
    tree: object = 1
    for _ in range(depth):
        tree = [tree]
    return tree


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"a": None, "b": True, "c": 2**63 - 1, "d": -1.5, "e": "text", "": 0},
        {"tuple": (1, [2.0, {"x": "y"}]), "scalar": torch.tensor(1.5), "none": torch.zeros(0)},
        {"a/b": torch.ones(2), "a": {"b": torch.zeros(2)}, "ü": np.float64(0.5)},
        {
            name: torch.ones(2).to(getattr(torch, name))
            for name in ("bool", "uint8", "int64", "float16", "float64")
        },
        {"deep": nested(MAX_DEPTH - 1)},
        {"k" * MAX_KEY: "t" * MAX_TEXT},
        {"many": list(range(MAX_ITEMS - 2))},
        {str(n): torch.ones(1) for n in range(MAX_TENSORS)},
        {"large": torch.zeros(MEBIBYTE // 4)},
    ],
)
def test_plain_states_pass(state):
    assert Guard().state(state, LAYOUT) is None


SPARSE = torch.eye(2).to_sparse()
ODD = [
    (None, "the state is a NoneType, not a table"),
    ([1], "the state is a list, not a table"),
    ({"x": torch.zeros(2, dtype=torch.complex128)}, "state 'x' has dtype complex128, allowed are bool, float16,"),
    ({"x": np.array(["a"])}, "state 'x' has dtype <U1"),
    ({"x": np.array([object()])}, "state 'x' has dtype object"),
    ({"x": np.zeros(2, ">f4")}, "state 'x' has dtype >f4"),
    ({"x": torch.zeros(2, dtype=torch.bfloat16)}, "state 'x' has dtype bfloat16"),
    ({"x": torch.zeros(2, device="meta")}, "state 'x' is a sparse or empty tensor"),
    ({"x": SPARSE}, "state 'x' is a sparse or empty tensor"),
    ({"\ud800": 1}, "state '?' has a key that UTF-8 cannot hold"),
    ({"x": "a\udfffb"}, "state 'x' is a text that UTF-8 cannot hold"),
    ({"x": {3: 1}}, "state '3' has a key of type int, not a text"),
    ({"k" * (MAX_KEY + 1): 1}, "has a key of 201 characters, allowed are 200"),
    ({"x": "t" * (MAX_TEXT + 1)}, "state 'x' is a text of 10001 characters, allowed are 10000"),
    ({"x": [1.0, nan]}, "state 'x' is nan, allowed are finite numbers"),
    ({"x": -inf}, "state 'x' is -inf"),
    ({"x": 2**63}, "state 'x' is a number of more than 64 bits"),
    ({"x": torch.tensor([1.0, inf])}, "state 'x' holds values that are NaN or infinite"),
    ({"x": b"bytes"}, "state 'x' is a bytes, allowed are numbers, texts, tensors, lists and tables"),
    ({"x": np.float32(1)}, "state 'x' is a float32"),
    ({"x": nested(MAX_DEPTH)}, f"the state is {MAX_DEPTH + 1} levels deep, allowed are {MAX_DEPTH}"),
    ({"x": [0] * MAX_ITEMS}, f"the state has {MAX_ITEMS + 2} values, allowed are {MAX_ITEMS}"),
    ({"x": [torch.ones(1)] * (MAX_TENSORS + 1)}, f"the state has {MAX_TENSORS + 1} tensors"),
    ({"x": torch.zeros(8 << 20)}, "the state holds 33554444 bytes, allowed are 1048624"),
    ({"x": torch.zeros(1).expand(10**12)}, "the state holds 4000000000012 bytes"),  # nothing of it is copied
    ({"x": np.broadcast_to(np.float32(0), (10**6, 10**6))}, "the state holds 4000000000012 bytes"),
    ({"x": ["t" * MAX_TEXT] * 30}, "bytes, allowed are 1048624"),
]  # fmt: skip


@pytest.mark.parametrize(("state", "reason"), ODD, ids=[reason[:60] for _, reason in ODD])
def test_an_odd_state_is_refused_in_one_line(state, reason):
    found = Guard().state(state, LAYOUT)
    assert reason in found
    assert found.isprintable()
    assert len(found) < 400


def test_a_state_that_holds_itself_is_refused():
    state: dict[str, object] = {}
    state["x"] = state
    assert "levels deep" in Guard().state(state, LAYOUT)


def test_the_ratio_grants_a_multiple_of_the_parameters():
    layout = layout_of({"weight": np.zeros(MEBIBYTE, np.float32)})
    state = {"x": torch.zeros(3 * MEBIBYTE)}
    assert Guard(state_ratio=3).state(state, layout) is None
    assert "allowed are 9437184" in Guard(state_ratio=2).state(state, layout)
    with pytest.raises(ValueError, match=r"Guard\.state_ratio must be a number >= 0, got -1"):
        Guard(state_ratio=-1)


def test_all_texts_together_are_limited_whatever_the_size_of_the_model():
    layout = layout_of({"weight": np.zeros(8 * MEBIBYTE, np.float32)})
    reason = "the state has 1050001 characters of text, allowed are 1048576"
    assert Guard().state({"x": ["t" * MAX_TEXT] * 105}, layout) == reason


def test_a_copy_has_memory_of_its_own_and_the_forms_that_a_file_gives_back():
    shared = torch.arange(6.0)
    state = {
        "a": shared,
        "b": [shared, shared.view(2, 3).T],
        "c": (1, "x"),
        "d": np.arange(3)[::-1],
        "e": np.array(2),
    }
    copy = copied(state)
    shared.zero_()
    assert copy["a"].tolist() == [0, 1, 2, 3, 4, 5]
    assert copy["b"][1].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert copy["b"][1].is_contiguous()
    assert copy["c"] == [1, "x"]
    assert copy["d"].tolist() == [2, 1, 0]
    assert copy["e"].shape == ()
    tensors = [copy["a"], *copy["b"], copy["d"]]
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == 4
    assert not copied({"x": torch.ones(2, requires_grad=True)})["x"].requires_grad


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (None, "the report is a NoneType, not a table"),
        ({"loss": nan}, "report 'loss' is nan, allowed are finite numbers"),
        ({"loss": inf}, "report 'loss' is inf"),
        ({"loss": 10**400}, "report 'loss' is a number of more than 64 bits"),
        ({"loss": "low"}, "report 'loss' is a str, not a number"),
        ({"loss": True}, "report 'loss' is a bool"),
        ({"loss": [1.0]}, "report 'loss' is a list"),
        ({"loss": torch.tensor(1.0)}, "report 'loss' is a Tensor"),
        ({3: 1.0}, "report '3' is no name: texts of at most 200 characters in UTF-8 are"),
        ({"\ud800": 1.0}, "report '?' is no name"),
        ({"x" * 201: 1.0}, "is no name"),
        ({str(n): 0.5 for n in range(500_000)}, "the report has 500000 numbers, allowed are 256"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_odd_report_is_refused_in_one_line(report, reason):
    assert reason in Guard().report(report)


def test_how_much_may_be_reported_is_a_setting():
    assert Guard().report({"loss": 0.5, "steps": 3, "share": np.float64(0.1)}) is None
    assert Guard(report_keys=1).report({"a": 1.0, "b": 2.0}) == "the report has 2 numbers, allowed are 1"
