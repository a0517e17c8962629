"""What is packed comes back as it was; whatever else arrives is an `Unreadable`, and nothing but that."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from hypothesis import event, given
from hypothesis import strategies as st
from torch.utils import _pytree as pytree

from hauberk.clients import PLUGINS, ClientReply, Instruction, Training, wire
from hauberk.clients.messages import Handshake
from hauberk.clients.optimizers import OPTIMIZERS
from hauberk.clients.plugins import Plugin
from hauberk.clients.tensor_file import FILE, MAX_HEADER, pack_arrays, unpack_arrays
from hauberk.strategies import Guard, UpdateMatrix, layout_of
from hauberk.strategies.npy import read_npy
from hauberk.tasks.errors import UserError

ARRAYS = {
    "w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.array(0.5, np.float32),
    "steps": np.array(7),
}
LAYOUT = layout_of(ARRAYS)
GUARD = Guard()
STATE = {
    "a/b": torch.ones(2),
    "a": {"b": np.zeros((2, 0))},
    "list": (1, 2.5, None, True, "ü😀"),
    "s": torch.tensor(3),
}


def same(first: object, second: object) -> bool:
    """Returns whether two trees have the same form and bits, whether their arrays are torch's or NumPy's."""
    one, two = pytree.tree_flatten(first), pytree.tree_flatten(second)
    return one[1] == two[1] and all(_same(a, b) for a, b in zip(one[0], two[0], strict=True))


def _same(first: object, second: object) -> bool:
    if isinstance(first, torch.Tensor | np.ndarray):
        a, b = np.asarray(first), np.asarray(second)
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    return type(first) is type(second) and first == second


def by_name(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns ``arrays`` in the order of their names, which is all that travels of an order."""
    return dict(sorted(arrays.items()))


def plugins() -> Iterator[Plugin]:
    """Yields every plugin whose extra is installed."""
    for cls in PLUGINS.values():
        try:
            yield cls()
        except UserError as error:
            if "pip install" not in str(error):
                raise


TRAININGS = [
    *(Training(optimizer=cls(lr=0.02), epochs=3) for cls in OPTIMIZERS.values()),
    *(Training(plugins=(plugin,), precision="bfloat16") for plugin in plugins()),
]


@pytest.mark.parametrize("training", TRAININGS, ids=lambda training: repr(training)[:200])
def test_an_instruction_comes_back(training):
    sent = Instruction(3, 7, ARRAYS, STATE, training, (1, 3, 4))
    back = wire.unpack_instruction(wire.pack_instruction(sent, pack_arrays(ARRAYS)), 3)
    assert (back.client_id, back.round, back.sampled, back.training) == (3, 7, (1, 3, 4), training)
    assert same(by_name(back.parameters), by_name(ARRAYS))
    assert same(back.state, {**STATE, "list": [*STATE["list"]]})
    assert all(value.flags.writeable for value in back.parameters.values())


def test_a_reply_comes_back():
    sent = ClientReply(3, ARRAYS, 12, STATE, {"loss": 0.25, "num-examples": 3.0})
    back = wire.unpack_reply(wire.pack_reply(sent), 9, LAYOUT, GUARD)
    assert (back.client_id, back.n_examples, back.report) == (9, 12, {"loss": 0.25, "num-examples": 3.0})
    assert same(by_name(back.arrays), by_name(ARRAYS))
    assert same(back.state, {**STATE, "list": [*STATE["list"]]})


def test_a_reply_of_some_rows_comes_back_and_is_the_update_of_all_of_them():
    rows = {"w": np.array([1])}
    sent = ClientReply(0, ARRAYS | {"w": ARRAYS["w"][1:]}, rows=rows)
    back = wire.unpack_reply(wire.pack_reply(sent), 0, LAYOUT, GUARD)
    assert same(back.rows, rows)
    matrix = UpdateMatrix([0], LAYOUT, torch.zeros(LAYOUT.n_params))
    matrix.add(back)
    assert matrix.close().updates[0].tolist() == [0, 0, 0, 3, 4, 5, 0.5]


def test_rows_of_too_many_bytes_are_unreadable():
    packed = wire.pack_reply(ClientReply(0, ARRAYS, rows={"w": np.arange(1 << 20)}))
    with pytest.raises(wire.Unreadable, match="oversized: 8388"):
        wire.unpack_reply(packed, 0, LAYOUT, GUARD)


def test_a_message_of_many_tensors_is_few_of_flowers_objects():
    many = {f"layer.{n}": np.ones(3, np.float32) for n in range(100)}
    asked = wire.pack_instruction(Instruction(0, 1, many), pack_arrays(many))
    answered = wire.pack_reply(ClientReply(0, many, 5, STATE, {"loss": 0.5}))
    assert [len(get_all_nested_objects(content)) for content in (asked, answered)] == [5, 5]


def test_arrays_come_back_from_one_file_in_memory_of_their_own():
    sent = {**ARRAYS, "t": ARRAYS["w"].T, "none": np.zeros((2, 0)), "big": np.arange(3, dtype=">i4")}
    record = pack_arrays(sent)
    assert list(record) == [FILE]
    back = unpack_arrays(record)
    assert back["big"].tolist() == sent.pop("big").tolist()
    assert all(same(back[name], value) and back[name].flags.writeable for name, value in sent.items())
    assert unpack_arrays(pack_arrays({})) == {}


@pytest.mark.parametrize(
    "data",
    [b"", b"1234567", bytes(8), (MAX_HEADER + 1).to_bytes(8, "little"), (9).to_bytes(8, "little") + b"{}"],
)
def test_what_is_no_file_of_tensors_is_refused(data):
    with pytest.raises(Exception, match=r"header|deserializing"):
        unpack_arrays(ArrayRecord({FILE: Array("uint8", (len(data),), FILE, data)}))
    with pytest.raises(ValueError, match="1 arrays where one file of tensors is due"):
        unpack_arrays(ArrayRecord({"w": Array("uint8", (len(data),), FILE, data)}))


def test_a_handshake_comes_back_and_an_odd_one_is_unreadable():
    about = Handshake(3, "0.1.0", "abc")
    assert wire.unpack_handshake(wire.pack_handshake(about)) == about
    for odd in ({}, {"client_id": True}, {"client_id": 1, "version": 3, "layout": "a"}, {"client_id": 1.0}):
        with pytest.raises(wire.Unreadable):
            wire.unpack_handshake(RecordDict({"handshake": ConfigRecord(odd)}))


def test_a_view_of_what_arrived_is_as_large_as_what_arrived():
    file = io.BytesIO()
    np.save(file, ARRAYS["w"].T)  # in Fortran's order
    data = file.getvalue()
    back = read_npy(data)
    assert same(back, ARRAYS["w"].T)
    assert not back.flags.owndata
    for odd in (
        data[:-1],
        data + b"x",
        data[:20],
        b"",
        b"PK\x03\x04",
        data.replace(b"(3, 2)", b"(3,-2)"),
        data.replace(b"<f4", b"|V0"),
    ):
        with pytest.raises(ValueError, match="no NumPy array") as caught:
            read_npy(odd)
        assert "\n" not in str(caught.value)


def test_training_that_this_client_does_not_know_is_unreadable():
    known = wire.describe_training(Training())
    assert wire.training_of(known) == Training()
    for odd in (
        {"optimizer": {"name": "os.system"}},
        {"epochs": 0},
        {"epochs": "many"},
        {"plugins": 3},
        {"more": 1},
    ):
        with pytest.raises(wire.Unreadable):
            wire.training_of({**known, **odd})


names = st.sampled_from(["arrays/w", "rows/w", "state/0", "w", "0", "x" * 300, "ü"]) | st.text(max_size=3)
files = st.builds(
    lambda name, dtype, shape, fill: pack_arrays({name: np.full(shape, fill).astype(dtype)})[FILE].data,
    names,
    st.sampled_from(["<f4", ">f4", "f8", "f2", "i8", "?", "u2"]),
    st.sampled_from([(), (0,), (2, 3), (3, 2), (1,) * 9]),
    st.sampled_from([0, 1]),
)


@st.composite
def garbled(draw: st.DrawFn, data: st.SearchStrategy[bytes] = files) -> bytes:
    """A file of tensors in which some bytes are others, are missing, or are too many."""
    found = bytearray(draw(data))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(found)))
        found[start : start + draw(st.integers(0, 9))] = draw(st.binary(max_size=9) | st.just(b"9" * 9))
    return bytes(found)


arrays = st.builds(
    Array,
    st.just("float32"),
    st.just((1,)),
    st.sampled_from(["numpy.ndarray", "?"]),
    files | garbled() | st.binary(max_size=40),
)
array_records = st.dictionaries(st.just(FILE) | names, arrays, max_size=2).map(ArrayRecord)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["0", "1", "w", "nan", "é"])
)
keys = st.sampled_from(["tensor", "table", "float", "a", "\ud800"])
json_trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3)
)
texts = (
    json_trees.map(json.dumps)
    | st.text(max_size=9)
    | st.sampled_from(["[" * 9999, '{"table": {}}', '{"tensor": "0"}', "9" * 5000])
)
scalars = st.integers(-(2**63), 2**63 - 1) | st.floats() | st.booleans() | st.binary(max_size=3) | texts
config_records = st.dictionaries(
    st.sampled_from(["n_examples", "state", "round", "sampled", "training", "report.loss", "?"]),
    scalars | st.lists(st.integers(-9, 9), max_size=3),
).map(ConfigRecord)
metric_records = st.dictionaries(
    names, st.floats() | st.integers(-9, 9) | st.lists(st.floats(), max_size=2), max_size=3
).map(MetricRecord)
records = array_records | config_records | metric_records
KEYS = ["tensors", "arrays", "state", "about"]
contents = st.dictionaries(st.sampled_from([*KEYS, "?"]), records, max_size=5).map(RecordDict)


@st.composite
def nearly_replies(draw: st.DrawFn) -> RecordDict:
    """A good reply in which some parts are replaced, so that what comes after the first check is reached, too."""
    state = draw(st.sampled_from([{}, STATE, {"x": [torch.ones(3), {"y": 2}]}]))
    content = wire.pack_reply(ClientReply(0, ARRAYS, 5, state, {"loss": 0.5}))
    for key in draw(st.lists(st.sampled_from(["tensors", "about"]), max_size=1)):
        kind = {"tensors": array_records, "about": config_records}[key]
        if draw(st.booleans()):
            content[key] = draw(kind)
        else:
            content[key].update(dict(draw(kind)))
    if draw(st.integers(0, 3)) == 0:
        content["about"]["state"] = draw(texts)
    if draw(st.integers(0, 3)) == 0:
        whole = st.sampled_from([array.data for array in content["tensors"].values()] or [b""])
        content["tensors"][FILE] = Array("uint8", (1,), FILE, draw(garbled(whole)))
    return content


def unreadable(unpack: Callable[[], object]) -> str | None:
    """Returns why ``unpack`` refuses; None where it does not. Nothing else that it raises is caught."""
    try:
        unpack()
    except wire.Unreadable as odd:
        return str(odd)
    return None


@given(nearly_replies() | nearly_replies() | contents)
def test_whatever_arrives_is_a_reply_or_unreadable_and_the_guard_can_judge_it(content):
    matrix = UpdateMatrix([0], LAYOUT, torch.zeros(LAYOUT.n_params))
    reason = unreadable(lambda: matrix.add(wire.unpack_reply(content, 0, LAYOUT, GUARD)))
    event("unreadable" if reason else "accepted" if matrix.close().client_ids else "refused")
    for text in [reason or "", *matrix.close().refused.values()]:
        assert not text or text.isprintable()
        assert len(text) < 500


@given(contents, st.integers(0, 2))
def test_whatever_arrives_is_an_instruction_or_a_handshake_or_unreadable(content, n_odd):
    if n_odd:
        good = wire.pack_instruction(Instruction(0, 1, ARRAYS, STATE), pack_arrays(ARRAYS))
        content = RecordDict({**good, **dict(list(content.items())[:n_odd])})
    for unpack in (lambda: wire.unpack_instruction(content, 0), lambda: wire.unpack_handshake(content)):
        reason = unreadable(unpack)
        assert reason is None or reason.isprintable()


def test_a_reply_of_zero_dimensions_keeps_them():
    sent = replace(ClientReply(0, ARRAYS, 1), state={"x": torch.tensor(2.0)})
    back = wire.unpack_reply(wire.pack_reply(sent), 0, LAYOUT, GUARD)
    assert (back.arrays["b"].shape, back.state["x"].shape) == ((), ())
