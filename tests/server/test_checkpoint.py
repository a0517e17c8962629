"""A checkpoint is whole or it does not count."""

from __future__ import annotations

import json
import re

import pytest
import torch

from hauberk.server import checkpoint, state_vectors
from hauberk.server.state import ServerState
from hauberk.strategies.mapped import VECTOR
from hauberk.tasks.errors import UserError

RUN = {"spec": "a" * 64, "data": "b" * 64, "version": "0.1.0", "device": "cpu"}


@pytest.fixture
def state():
    rng = torch.Generator().manual_seed(0)
    memory = {"memory": {"3": 0.5, "4": float("inf")}, "history": torch.randn(2, 3, generator=rng)}
    clients = {
        3: {"plugin/moment": torch.randn(4, generator=rng), "steps": 7, "name": "x", "list": [1, 2.5, None]}
    }
    return ServerState(2, torch.randn(10, generator=rng), memory, clients)


def test_everything_comes_back(tmp_path, state):
    checkpoint.save(tmp_path, state, RUN)
    back = checkpoint.load(tmp_path, RUN)
    assert back.round == 2
    assert torch.equal(back.parameters, state.parameters)
    assert torch.equal(back.aggregator["history"], state.aggregator["history"])
    assert back.aggregator["memory"] == state.aggregator["memory"]
    assert torch.equal(back.clients[3]["plugin/moment"], state.clients[3]["plugin/moment"])
    assert back.clients[3]["list"] == [1, 2.5, None]


def test_nothing_saved_is_none(tmp_path):
    assert checkpoint.load(tmp_path / "absent", RUN) is None


def test_the_newest_counts_and_one_more_is_kept(tmp_path, state):
    for number in range(1, 5):
        checkpoint.save(tmp_path, ServerState(number, state.parameters), RUN)
    assert checkpoint.load(tmp_path, RUN).round == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "state-0003.json", "state-0003.safetensors", "state-0004.json", "state-0004.safetensors",
    ]  # fmt: skip


def test_large_vectors_are_files_that_are_written_once_and_go_with_the_last_that_names_them(tmp_path, state):
    one, two, three = (torch.full((4,), float(n)) for n in range(3))
    for number, vectors in enumerate(([one, two], [one, three], [one, three]), start=1):
        remembered = {"ids": [5, 6], "vector/0": vectors[0], "vector/1": vectors[1]}
        checkpoint.save(tmp_path, ServerState(number, state.parameters, remembered), RUN)
        assert len(list((tmp_path / "vectors").iterdir())) == (2, 3, 2)[number - 1]
    back = checkpoint.load(tmp_path, RUN)
    assert back.aggregator["ids"] == [5, 6]
    assert torch.equal(back.aggregator["vector/1"], three)
    file = next((tmp_path / "vectors").iterdir())
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + b"x")
    with pytest.raises(UserError, match=r"vector of the rule's state is damaged.*delete state-0003"):
        checkpoint.load(tmp_path, RUN)
    file.unlink()
    with pytest.raises(UserError, match=r"vector of the rule's state is missing.*delete state-0003"):
        checkpoint.load(tmp_path, RUN)


def test_equal_vectors_are_one_file(tmp_path):
    vectors = {f"{VECTOR}{one}": torch.zeros(200_000) for one in range(8)}
    places = state_vectors.store(tmp_path, vectors)
    assert len(set(places.values())) == 1
    assert len(list((tmp_path / state_vectors.FOLDER).iterdir())) == 1
    again = state_vectors.read(tmp_path, places)
    assert all(torch.equal(again[name], vector) for name, vector in vectors.items())


def test_tensors_without_their_json_do_not_count(tmp_path, state):
    checkpoint.save(tmp_path, state, RUN)
    checkpoint.save(tmp_path, ServerState(3, state.parameters), RUN)
    (tmp_path / "state-0003.json").unlink()
    assert checkpoint.load(tmp_path, RUN).round == 2


@pytest.mark.parametrize("name", ["state-0002.safetensors", "state-0002.json"])
def test_a_file_cut_short_is_refused_with_a_way_out(tmp_path, state, name):
    checkpoint.save(tmp_path, state, RUN)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        UserError, match=r"cut short.*delete state-0002\.\* to resume from the checkpoint before"
    ):
        checkpoint.load(tmp_path, RUN)


def test_a_changed_byte_is_refused(tmp_path, state):
    checkpoint.save(tmp_path, state, RUN)
    path = tmp_path / "state-0002.safetensors"
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(bytes(blob))
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(tmp_path, RUN)


def test_another_runs_checkpoint_is_refused_with_what_differs(tmp_path, state):
    checkpoint.save(tmp_path, state, RUN)
    other = {**RUN, "data": "c" * 64, "device": "cuda"}
    line = r"belongs to another data \(bbbbbbbb, not cccccccc\) and another device \(cpu, not cuda\)$"
    with pytest.raises(UserError, match=line):
        checkpoint.load(tmp_path, other)


def test_a_stray_copy_is_no_checkpoint(tmp_path, state):
    checkpoint.save(tmp_path, state, RUN)
    for name in ("state-0002 (copy).json", "state-0009.json.bak", "state-12.json", "state-00003.json"):
        (tmp_path / name).write_text("{}")
    assert checkpoint.load(tmp_path, RUN).round == 2


ODD = {
    "format": ("1", "has format '1', this hauberk reads 2"),
    "round": (3, "it says that it is of round 3"),
    "identity": (["x"], "identity: Input should be an object"),
    "bytes": ("many", "bytes: Input should be a valid integer"),
    "sha256": (7, "sha256: Input should be a valid string"),
    "tree": ({"table": {"clients": 3}}, "its tree does not fit its tensors"),
    "extra": (1, "extra: Extra inputs are not permitted"),
}


@pytest.mark.parametrize("key", [key for key in ODD if key != "extra"])
def test_a_missing_key_is_one_line(tmp_path, state, key):
    checkpoint.save(tmp_path, state, RUN)
    path = tmp_path / "state-0002.json"
    about = json.loads(path.read_text())
    del about[key]
    path.write_text(json.dumps(about))
    with pytest.raises(
        UserError, match=f"state-0002.json: .*({key}: Field required|its tree does not fit)"
    ) as caught:
        checkpoint.load(tmp_path, RUN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "value", "message"), [(key, *odd) for key, odd in ODD.items()])
def test_a_wrong_value_is_one_line(tmp_path, state, key, value, message):
    checkpoint.save(tmp_path, state, RUN)
    path = tmp_path / "state-0002.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        checkpoint.load(tmp_path, RUN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "\udcff", "[" * 100_000])
def test_json_that_is_no_checkpoint_is_one_line(tmp_path, state, text):
    checkpoint.save(tmp_path, state, RUN)
    (tmp_path / "state-0002.json").write_bytes(text.encode("utf8", "surrogateescape"))
    with pytest.raises(UserError, match="cut short or damaged"):
        checkpoint.load(tmp_path, RUN)


def test_its_json_is_json_for_everyone_whatever_the_numbers(tmp_path, state):
    checkpoint.save(tmp_path, state, RUN)

    def refuse(word):
        raise AssertionError(word)

    json.loads((tmp_path / "state-0002.json").read_text(), parse_constant=refuse)
    assert checkpoint.load(tmp_path, RUN).aggregator["memory"]["4"] == float("inf")
