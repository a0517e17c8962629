"""Clients come, go, come back and are late: a round closes with those who are there, and each is named."""

from __future__ import annotations

import threading
import time

import pytest
from flwr.app import Message

from hauberk.server.round import run_round
from tests.helpers.federation import FIRST, Federation
from tests.helpers.local_grid import Node


class Slow:
    """A node whose answers to a round come only when they are let go."""

    def __init__(self, federation: Federation, client: int) -> None:
        self._grid, self._node = federation.grid, federation.node(client)
        self._held: list[Message] = []
        self.is_slow = True
        federation.grid.nodes[FIRST + client] = self

    def __call__(self, message: Message) -> Message | None:
        if message.metadata.message_type == "train" and self.is_slow:
            self._held.append(message)
            return None
        return self._node(message)

    def let_go(self) -> None:
        self.is_slow = False
        for message in self._held:
            self._grid.answer(message.metadata.message_id, self._node(message))
        self._held.clear()


def play(federation, dispatch, rounds):
    state, records = federation.prepared.start, []
    for _ in range(rounds):
        state, record = run_round(federation.prepared.server, state, dispatch)
        records.append(record)
    return records


def test_a_late_reply_is_dropped_by_name_and_its_client_is_not_asked_until_it_has_answered(federation):
    slow = Slow(federation, 2)
    dispatch = federation.dispatch(timeout_s=3.0, rejoin=True)
    dispatch.register_nodes()
    state, first = run_round(federation.prepared.server, federation.prepared.start, dispatch)
    assert first.refused == {2: "error reply: no answer within 3 s"}
    state, second = run_round(federation.prepared.server, state, dispatch)
    assert second.refused == {2: "error reply: it still owes its reply to round 1"}
    assert dispatch.take_late() == {}
    slow.let_go()
    late: dict[int, str] = {}
    while not late and state.round < 50:  # it is fetched beside the rounds, and holds none up
        state, _ = run_round(federation.prepared.server, state, dispatch)
        late = dispatch.take_late()
    assert late == {2: "its reply to round 1 came too late and was dropped"}
    _, last = run_round(federation.prepared.server, state, dispatch)
    assert sorted(last.weights) == [0, 1, 2, 3, 4]


def test_a_round_waits_beyond_its_time_for_as_many_replies_as_it_must_have(federation):
    slow = [Slow(federation, client) for client in (0, 1)]
    dispatch = federation.dispatch(timeout_s=0.2, min_replies=4)
    dispatch.register_nodes()
    started = time.monotonic()
    threading.Timer(1.0, slow[0].let_go).start()
    (record,) = play(federation, dispatch, 1)
    assert time.monotonic() - started > 0.9
    assert sorted(record.weights) == [0, 2, 3, 4]
    assert record.refused == {1: "error reply: no answer within 0.2 s"}


def test_a_client_may_come_late_leave_and_come_back_as_another_node(federation):
    nodes, keys = federation.grid.nodes, {f"key {client}".encode(): client for client in range(5)}
    federation.grid.keys = {FIRST + client: f"key {client}".encode() for client in range(5)}
    late = nodes.pop(FIRST + 4)
    dispatch = federation.dispatch(timeout_s=5.0, rejoin=True, keys=keys)
    dispatch.register_nodes()
    state, record = run_round(federation.prepared.server, federation.prepared.start, dispatch)
    assert record.refused == {4: "error reply: absent: no node with its key is there"}
    nodes[FIRST + 4] = late
    state, record = run_round(federation.prepared.server, state, dispatch)
    assert record.refused == {}
    node = nodes.pop(FIRST + 1)
    state, record = run_round(federation.prepared.server, state, dispatch)
    assert list(record.refused) == [1]
    nodes[FIRST + 77], federation.grid.keys[FIRST + 77] = node, b"key 1"
    _, record = run_round(federation.prepared.server, state, dispatch)
    assert record.refused == {}
    assert dispatch.registration.nodes[1] == FIRST + 77


def test_a_node_that_began_anew_is_asked_again_who_it_is_and_owes_nothing(federation):
    slow = Slow(federation, 3)
    dispatch = federation.dispatch(timeout_s=2.0, rejoin=True)
    dispatch.register_nodes()
    state, _ = run_round(federation.prepared.server, federation.prepared.start, dispatch)
    slow.is_slow = False
    federation.grid.activated[FIRST + 3] = "2026-01-01"
    federation.grid.asked.clear()
    _, record = run_round(federation.prepared.server, state, dispatch)
    assert record.refused == {}
    assert [(node, kind) for node, kind in federation.grid.asked if kind == "query"] == [(FIRST + 3, "query")]


@pytest.mark.parametrize("name", ["the labels", "the tokenizer"])
def test_a_node_that_does_not_agree_on_what_all_must_have_is_refused_by_client(federation, name):
    keys = {f"key {client}".encode(): client for client in range(5)}
    federation.grid.keys = {FIRST + client: f"key {client}".encode() for client in range(5)}
    agreed = {"the labels": "1", "the tokenizer": "2"}
    for client in range(5):
        told = {**agreed, name: "other"} if client == 1 else agreed
        federation.grid.nodes[FIRST + client] = agreeing(federation.node(client), told)
    dispatch = federation.dispatch(keys=keys, agreed=agreed)
    dispatch.register_nodes()
    reason = f"it does not agree with the server on {name}: their digests differ"
    assert dispatch.registration.absent == {1: reason}
    (record,) = play(federation, dispatch, 1)
    assert record.refused == {1: f"error reply: absent: {reason}"}


def agreeing(node: Node, agreed: dict[str, str]) -> Node:
    def answer(message: Message) -> Message:
        reply = node(message)
        if message.metadata.message_type == "query":
            for key, value in agreed.items():
                reply.content["handshake"][f"agreed.{key}"] = value
        return reply

    return answer


def test_an_answer_that_was_begun_and_never_ended_holds_nobody_up(federation, monkeypatch):
    dispatch = federation.dispatch(timeout_s=2.0, rejoin=True)
    dispatch.register_nodes()
    held, over, pull = FIRST + 2, threading.Event(), federation.grid.pull_messages

    def stuck(ids):
        found = pull(ids)
        if any(message.metadata.src_node_id == held for message in found):
            over.wait(30)
        return found

    federation.grid.nodes[held] = from_node(held, federation.node(2))
    monkeypatch.setattr(federation.grid, "pull_messages", stuck)
    started = time.monotonic()
    (record,) = play(federation, dispatch, 1)
    over.set()
    assert record.refused == {2: "error reply: no answer within 2 s"}
    assert time.monotonic() - started < 15


def from_node(node_id: int, node: Node) -> Node:
    def answer(message: Message) -> Message:
        reply = node(message)
        reply.metadata.__dict__["_src_node_id"] = node_id
        return reply

    return answer
