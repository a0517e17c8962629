"""A round writes the states that it changed, and reads those of the clients that it asks."""

import json

import pytest
import torch

from hauberk.server import checkpoint
from hauberk.server.client_states import ClientStates
from hauberk.server.state import ServerState
from hauberk.tasks.errors import UserError

RUN = {"spec": "a" * 64}


def after(state, number, states):
    return ServerState(number, torch.zeros(2), None, state.client_states.changed(states))


def files(folder):
    return sorted(path.name for path in (folder / "clients").iterdir())


@pytest.fixture
def played(tmp_path):
    state = ServerState(0, torch.zeros(2))
    rounds = {
        1: {3: {"v": torch.ones(2)}, 5: {"n": 1}},
        2: {3: {"v": torch.full((2,), 2.0)}},
        3: {7: {"x": [0.5, "a"]}},
    }
    for number, changed in rounds.items():
        state = after(state, number, changed)
        checkpoint.save(tmp_path, state, RUN)
    return tmp_path, state


def test_a_file_is_written_where_a_state_changed_and_dropped_when_no_checkpoint_names_it(played):
    folder, state = played
    assert files(folder) == ["3-0002.safetensors", "5-0001.safetensors", "7-0003.safetensors"]
    written = (folder / "clients" / "5-0001.safetensors").stat().st_mtime_ns
    checkpoint.save(folder, after(state, 4, {7: {"x": 1}}), RUN)
    assert (folder / "clients" / "5-0001.safetensors").stat().st_mtime_ns == written
    assert "7-0003.safetensors" in files(folder)  # of the checkpoint before, which is kept


def test_they_come_back_as_they_were_from_either_checkpoint(played):
    folder, state = played
    for back in (state.clients, checkpoint.load(folder, RUN).clients):
        assert sorted(back) == [3, 5, 7]
        assert back[3]["v"].tolist() == [2.0, 2.0]
        assert (back[5], back[7], back.get(4, {})) == ({"n": 1}, {"x": [0.5, "a"]}, {})
    assert sorted(checkpoint.load(folder, RUN, at_most=2).clients) == [3, 5]


def test_what_is_on_the_disk_is_not_held(played):
    _, state = played
    assert state.clients[3] is not state.clients[3]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing; delete state-0003"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is cut short"),
    ],
)
def test_a_file_that_is_not_whole_is_one_line_with_a_way_out(played, damage, message):
    damage(played[0] / "clients" / "3-0002.safetensors")
    with pytest.raises(UserError, match=f"the state of client 3 {message}"):
        checkpoint.load(played[0], RUN)


def test_a_changed_byte_is_found_when_the_state_is_read(played):
    path = played[0] / "clients" / "3-0002.safetensors"
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(bytes(blob))
    states = checkpoint.load(played[0], RUN).clients
    with pytest.raises(UserError, match=r"3-0002\.safetensors: the state of client 3 is damaged: its digest"):
        states[3]
    assert states[5] == {"n": 1}


def test_another_folder_gets_its_own_files(played, tmp_path):
    checkpoint.save(tmp_path / "other", played[1], RUN)
    assert checkpoint.load(tmp_path / "other", RUN).clients[3]["v"].tolist() == [2.0, 2.0]
    assert len(files(tmp_path / "other")) == 3


def test_a_checkpoint_of_format_2_is_still_read(tmp_path):
    checkpoint.save(tmp_path, ServerState(1, torch.zeros(2)), RUN)
    path = tmp_path / "state-0001.json"
    about = json.loads(path.read_text())
    del about["clients"]
    about["tree"]["table"]["clients"] = {"table": {"4": {"table": {"n": 2}}}}
    path.write_text(json.dumps({**about, "format": 2}))
    assert checkpoint.load(tmp_path, RUN).clients == {4: {"n": 2}}


def test_states_are_a_table():
    states = ClientStates({1: {"a": 1}}).changed({2: {"b": 2}})
    assert (len(states), list(states), states) == (2, [1, 2], {1: {"a": 1}, 2: {"b": 2}})
