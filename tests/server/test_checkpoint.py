"""A checkpoint is whole or it does not count."""

from __future__ import annotations

import pytest
import torch

from hauberk.server import checkpoint
from hauberk.server.state import ServerState
from hauberk.tasks.errors import UserError


@pytest.fixture
def state():
    rng = torch.Generator().manual_seed(0)
    memory = {"memory": {"3": 0.5, "4": float("inf")}, "history": torch.randn(2, 3, generator=rng)}
    clients = {
        3: {"plugin/moment": torch.randn(4, generator=rng), "steps": 7, "name": "x", "list": [1, 2.5, None]}
    }
    return ServerState(2, torch.randn(10, generator=rng), memory, clients)


def test_everything_comes_back(tmp_path, state):
    checkpoint.save(tmp_path, state, "hash")
    back = checkpoint.load(tmp_path, "hash")
    assert back.round == 2
    assert torch.equal(back.parameters, state.parameters)
    assert torch.equal(back.aggregator["history"], state.aggregator["history"])
    assert back.aggregator["memory"] == state.aggregator["memory"]
    assert torch.equal(back.clients[3]["plugin/moment"], state.clients[3]["plugin/moment"])
    assert back.clients[3]["list"] == [1, 2.5, None]


def test_nothing_saved_is_none(tmp_path):
    assert checkpoint.load(tmp_path / "absent", "hash") is None


def test_the_newest_counts_and_one_more_is_kept(tmp_path, state):
    for number in range(1, 5):
        checkpoint.save(tmp_path, ServerState(number, state.parameters), "hash")
    assert checkpoint.load(tmp_path, "hash").round == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "state-0003.json", "state-0003.safetensors", "state-0004.json", "state-0004.safetensors",
    ]  # fmt: skip


def test_tensors_without_their_json_do_not_count(tmp_path, state):
    checkpoint.save(tmp_path, state, "hash")
    checkpoint.save(tmp_path, ServerState(3, state.parameters), "hash")
    (tmp_path / "state-0003.json").unlink()
    assert checkpoint.load(tmp_path, "hash").round == 2


@pytest.mark.parametrize("name", ["state-0002.safetensors", "state-0002.json"])
def test_a_file_cut_short_is_refused_with_a_way_out(tmp_path, state, name):
    checkpoint.save(tmp_path, state, "hash")
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        UserError, match=r"cut short.*delete state-0002\.\* to resume from the checkpoint before"
    ):
        checkpoint.load(tmp_path, "hash")


def test_a_changed_byte_is_refused(tmp_path, state):
    checkpoint.save(tmp_path, state, "hash")
    path = tmp_path / "state-0002.safetensors"
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(bytes(blob))
    with pytest.raises(UserError, match="damaged"):
        checkpoint.load(tmp_path, "hash")


def test_another_specs_checkpoint_is_refused(tmp_path, state):
    checkpoint.save(tmp_path, state, "a" * 64)
    with pytest.raises(UserError, match=r"another spec \(aaaaaaaa, not bbbbbbbb\)"):
        checkpoint.load(tmp_path, "b" * 64)
