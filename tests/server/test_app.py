"""Nodes over a Flower grid: the odd ones are refused by their id, and the others' round is the inline engine's."""

from __future__ import annotations

import json
import pickle
import threading

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.app import Array, Message, RecordDict

from hauberk.clients.app import layout_hash
from hauberk.clients.tensor_file import FILE, pack_arrays, unpack_arrays
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import parse
from hauberk.server.app import FlowerDispatch, Stopped
from hauberk.server.client_keys import read_client_keys
from hauberk.server.round import RoundFailed
from hauberk.tasks.errors import UserError
from tests.helpers.federation import FIRST, Federation, introduction, saying
from tests.helpers.local_grid import Node


def test_a_round_over_a_grid_has_the_inline_engines_bits(federation):
    state, record = federation.round(federation.dispatch().register_nodes())
    inline, expected = federation.round(lambda instructions: map(federation.worker.fit, instructions))
    assert torch.equal(state.parameters, inline.parameters)
    assert (record.weights, record.refused, record.clients) == (expected.weights, {}, expected.clients)


ODD = {
    "numbered from 1": (lambda one: one.node(5), "client 5, and the 5 clients are numbered from 0 to 4"),
    "no number": (lambda one: one.node("x"), "ValueError: invalid literal for int() with base 10: 'x'"),
    "a text": (lambda one: saying(introduction(client_id="0")), "unreadable introduction: client_id is a str, not int"),
    "negative": (lambda one: one.node(-1), "it says that it is client -1"),
    "another version": (
        lambda one: saying(introduction(version="0.0.9", layout=layout_hash(one.worker.model))),
        "it runs hauberk 0.0.9, the server 0.1.0",
    ),
    "another model": (lambda one: saying(introduction()), "it has another model than the server"),
    "nothing": (lambda one: saying(RecordDict()), "unreadable introduction: the message has 0 records"),
    "much": (lambda one: saying(introduction(version="9" * 10_000_000)), "version has length 10000000, allowed is"),
    "silent": (lambda one: saying(None), "no answer within 0.3 s"),
    "raising": (lambda one: one.node([]), "TypeError: int() argument must be"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_node_is_refused_by_its_id_and_the_others_go_on(federation, kind):
    make, reason = ODD[kind]
    federation.grid.nodes[FIRST] = make(federation)
    dispatch = federation.dispatch(**({"timeout_s": 0.3} if kind == "silent" else {}))
    dispatch.register_nodes()
    assert list(dispatch.registration.refused) == [FIRST]
    assert reason in dispatch.registration.refused[FIRST]
    assert f"node {FIRST} is refused: " in dispatch.registration.warnings[0]
    assert all(line.isprintable() and len(line) < 400 for line in dispatch.registration.warnings)
    _, record = federation.round(dispatch)
    assert list(record.refused) == [0]
    assert record.refused[0].startswith("error reply: absent: ")
    assert list(record.weights) == [1, 2, 3, 4]


LIES = {
    "one tensor twice": (
        lambda reply: packs_state(reply, {"table": {"a": {"tensor": "0"}, "b": {"tensor": "0"}}}, np.zeros(2)),
        "unreadable reply: ValueError: tensor '0' is not there, or stands in two places",
    ),
    "a tensor without a place": (
        lambda reply: packs_state(reply, {"table": {}}, np.zeros(2)),
        "unreadable reply: the state does not say where tensor '0' belongs",
    ),
    "a type that no state has": (
        lambda reply: packs_state(reply, {"table": {"a": {"tensor": "0"}}}, np.zeros(2, np.uint16)),
        "state 'a' has dtype uint16",
    ),
    "half a character": (lambda reply: packs_state(reply, {"table": {"\ud800": 1}}), "a key that UTF-8 cannot hold"),
    "much state": (
        lambda reply: packs_state(reply, {"table": {"a": {"tensor": "0"}}}, np.zeros(8 << 20, np.float32)),
        "unreadable reply: the reply is oversized: ",
    ),
    "much report": (
        lambda reply: reply["about"].update({f"report.{n:040}": 0.5 for n in range(250_000)}),
        "unreadable reply: the report has 250001 numbers, allowed are 256",
    ),
    "NaN": (lambda reply: reply["about"].update({"report.loss": float("nan")}), "report 'loss' is nan"),
    "a size that is not there": (
        lambda reply: replaces_tensors(reply, header([10**12], "F32", 4 * 10**12)),
        "unreadable reply: SafetensorError: ",
    ),
    "a pickle": (lambda reply: replaces_tensors(reply, pickle.dumps(reply)), "unreadable reply: "),
    "an unknown type": (lambda reply: replaces_tensors(reply, header([1], "F8_E5M2", 1) + b"x"), "unreadable reply: "),
    "a long header": (
        lambda reply: replaces_tensors(reply, (1 << 21).to_bytes(8, "little") + bytes(1 << 21)),
        "the file of tensors has a header of 2097152 bytes, allowed are 1048576",
    ),
    "much of everything": (
        lambda reply: replaces_tensors(reply, bytes(80_000_000)), "unreadable reply: the reply is oversized: 8"
    ),
    "no records": (lambda reply: reply.clear(), "the message has 0 records where tensors is due"),
    "no count": (lambda reply: reply["about"].pop("n_examples"), "unreadable reply: KeyError: 'n_examples'"),
    "a deep tree": (lambda reply: reply["about"].update(state="[" * 100_000), "unreadable reply: RecursionError"),
}  # fmt: skip


def packs_state(reply: RecordDict, tree: object, *tensors: np.ndarray) -> None:
    reply["about"]["state"] = json.dumps(tree)
    held = unpack_arrays(reply["tensors"])
    reply["tensors"] = pack_arrays(held | {f"state/{n}": tensor for n, tensor in enumerate(tensors)})


def replaces_tensors(reply: RecordDict, data: bytes) -> None:
    reply["tensors"][FILE] = Array("uint8", (len(data),), FILE, data)


def header(shape: list[int], dtype: str, n_bytes: int) -> bytes:
    """Returns the beginning of a file of tensors, which says what it likes of what follows."""
    text = json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, n_bytes]}}).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize("lie", LIES)
def test_a_reply_that_its_sender_packed_itself_is_refused_by_client_id(federation, lie):
    change, reason = LIES[lie]

    def lying(message: Message) -> Message:
        reply = federation.node(3)(message)
        if message.metadata.message_type == "train":
            change(reply.content)
        return reply

    federation.grid.nodes[FIRST + 3] = lying
    _, record = federation.round(federation.dispatch().register_nodes())
    assert list(record.refused) == [3]
    assert reason in record.refused[3]
    assert record.refused[3].isprintable()
    assert list(record.weights) == [0, 1, 2, 4]


@pytest.mark.parametrize(
    "liar", [1, FIRST + 9]
)  # who answers before the honest one, and who answers after it
def test_where_two_say_that_they_are_the_same_client_neither_is_believed(federation, liar):
    federation.grid.nodes[liar] = federation.node(2)
    dispatch = federation.dispatch()
    dispatch.register_nodes()
    assert set(dispatch.registration.refused) == {liar, FIRST + 2}
    assert set(dispatch.registration.refused.values()) == {
        "2 nodes say that they are client 2, and none of them is believed"
    }
    _, record = federation.round(dispatch)
    assert list(record.weights) == [0, 1, 3, 4]
    assert record.refused[2].endswith(f"refused with node {', '.join(map(str, sorted([liar, FIRST + 2])))}")


def test_so_few_that_the_rule_cannot_work_are_one_error_with_every_reason(tables, flower_identity):
    federation = Federation(prepare(parse({**tables, "aggregator": {"name": "krum", "n_malicious": 1}})))
    federation.grid.nodes[FIRST] = saying(RecordDict())
    del federation.grid.nodes[FIRST + 3]
    with pytest.raises(UserError) as caught:
        federation.dispatch().register_nodes()
    assert str(caught.value).startswith(
        "3 of 5 clients are there: Krum needs 2f + 2 < n_clients, got f=1 and n_clients=3."
    )
    assert f"node {FIRST} is refused: unreadable introduction" in str(caught.value)
    assert "client 3 is absent: no node says that it is this client" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nobody_at_all_is_an_error(federation):
    federation.grid.nodes.clear()
    with pytest.raises(UserError, match="0 of 5 clients are there: nobody can train"):
        federation.dispatch().register_nodes()


def test_another_number_of_nodes_is_an_error_where_it_is_the_users_mistake(federation):
    del federation.grid.nodes[FIRST]
    federation.dispatch().register_nodes()
    with pytest.raises(UserError, match=r"^the spec has n_clients=5, but 4 nodes are there; type: that$"):
        federation.dispatch(advice="type: that").register_nodes()


def test_nodes_that_come_late_are_waited_for(federation):
    late = dict(federation.grid.nodes)
    federation.grid.nodes.clear()
    threading.Timer(0.1, lambda: federation.grid.nodes.update(late)).start()
    dispatch = federation.dispatch(node_wait_s=30, advice="none")
    dispatch.register_nodes()
    assert list(dispatch.registration.nodes) == [0, 1, 2, 3, 4]


def public_key() -> tuple[str, bytes]:
    """Returns a new public key as ssh-keygen writes it, and as a SuperLink knows it."""
    key = ec.generate_private_key(ec.SECP384R1()).public_key()
    return (
        key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + " somebody@somewhere",
        key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    )


def test_with_a_table_of_keys_a_node_is_the_client_whose_key_it_has(federation, tmp_path):
    keys = [public_key() for _ in range(6)]
    path = tmp_path / "client_keys.toml"
    path.write_text("".join(f'{client} = "{keys[client][0]}"\n' for client in range(5)))
    federation.grid.keys = {FIRST + client: keys[client][1] for client in range(6)}
    federation.grid.nodes[FIRST + 5] = federation.node(0)  # a stranger claims what client 0 has the key of
    federation.grid.nodes[FIRST + 1] = federation.node(3)  # and client 1 claims client 3's place
    dispatch = federation.dispatch(keys=read_client_keys(path, 5))
    dispatch.register_nodes()
    assert dispatch.registration.nodes == {client: FIRST + client for client in (0, 2, 3, 4)}
    assert dispatch.registration.refused == {
        FIRST + 1: "it says that it is client 3, and its public key is client 1's",
        FIRST + 5: "it says that it is client 0, and its public key is no client's",
    }
    _, record = federation.round(dispatch)
    assert list(record.weights) == [0, 2, 3, 4]


def test_no_table_of_keys_is_none_and_a_bad_one_is_a_users_mistake(tmp_path):
    path, (good, _) = tmp_path / "client_keys.toml", public_key()
    assert read_client_keys(path, 5) is None
    for text, reason in {
        "0 = ": "cannot be read",
        f'5 = "{good}"': "'5' must be a client id from 0 to 4",
        f'x = "{good}"': "'x' must be a client id",
        '0 = "ssh-rsa AAAA"': "client 0: must be a public key as ssh-keygen writes it",
        "0 = 7": "client 0: must be a public key",
        f'0 = "{good}"\n1 = "{good}"': "clients 0 and 1 must not have the same key",
    }.items():
        path.write_text(text)
        with pytest.raises(UserError, match=reason) as caught:
            read_client_keys(path, 5)
        assert "\n" not in str(caught.value)


def test_a_reply_that_flower_cannot_unpack_costs_its_node_the_round_and_the_others_nothing(federation):
    dispatch = federation.dispatch()
    dispatch.register_nodes()
    federation.grid.garbled.add(FIRST + 1)
    for asked in (
        10,
        5,
    ):  # the first time all are asked again, since the others' replies were lost with that one
        federation.grid.asked.clear()
        _, record = federation.round(dispatch)
        assert record.refused == {1: "error reply: unreadable message: KeyError: 'no such object'"}
        assert list(record.weights) == [0, 2, 3, 4]
        assert len(federation.grid.asked) == asked


def test_a_node_that_leaves_costs_its_client_the_round(federation):
    dispatch = federation.dispatch()
    dispatch.register_nodes()
    federation.grid.gone.add(FIRST + 4)
    _, record = federation.round(dispatch)
    assert record.refused == {4: "error reply: the node cannot be reached"}
    assert list(record.weights) == [0, 1, 2, 3]


def test_a_connection_that_is_gone_ends_the_run_and_blames_no_node(federation, monkeypatch):
    dispatch = federation.dispatch()
    dispatch.register_nodes()

    def gone(message_ids):
        raise ConnectionError("the SuperLink is gone")

    monkeypatch.setattr(federation.grid, "pull_messages", gone)
    with pytest.raises(ConnectionError, match="the SuperLink is gone"):
        federation.round(dispatch)


def test_a_node_cannot_answer_for_another(federation):
    sent: dict[int, str] = {}

    def listening(client: int) -> Node:
        def node(message: Message) -> Message:
            sent[client] = message.metadata.message_id
            return federation.node(client)(message)

        return node

    def lying(message: Message) -> Message:
        reply = federation.node(1)(message)
        if message.metadata.message_type == "train":
            guess = sent[0].split()[0]  # all of another's message id but what nobody can guess
            reply.metadata.__dict__["_reply_to_message_id"] = f"{guess} {'0' * 32}"
        return reply

    federation.grid.nodes |= {FIRST: listening(0), FIRST + 1: lying}
    dispatch = federation.dispatch()
    dispatch.register_nodes()
    _, record = federation.round(dispatch)
    assert record.refused == {1: "error reply: Message Unavailable"}


def test_a_round_ends_where_the_run_is_asked_to_stop(federation):
    stop = threading.Event()
    dispatch = FlowerDispatch(federation.grid, federation.prepared.server, stop)
    dispatch.register_nodes()
    federation.grid.nodes[FIRST] = saying(None)
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Stopped):
        federation.round(dispatch)


def test_clients_that_are_all_silent_are_one_failed_round(federation):
    dispatch = federation.dispatch(timeout_s=0.3)
    dispatch.register_nodes()
    federation.grid.nodes = dict.fromkeys(federation.grid.nodes, saying(None))
    with pytest.raises(RoundFailed) as caught:
        federation.round(dispatch)
    assert caught.value.refused == dict.fromkeys(range(5), "error reply: no answer within 0.3 s")
