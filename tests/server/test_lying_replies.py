"""What a client sends beside its weights is checked like them: a lie costs the liar its round, nobody else theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from hauberk.clients import ClientReply
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import parse
from hauberk.server import checkpoint
from hauberk.server.round import run_round

Lie = Callable[[ClientReply], ClientReply]
RUN = {"spec": "a"}
SHARED = torch.zeros(4)
NOTHINGS = {str(n): np.zeros(0, np.int64) for n in range(1000)}


def with_state(state) -> Lie:
    return lambda reply: replace(reply, state=state)


def with_report(report) -> Lie:
    return lambda reply: replace(reply, report=report)


LIES: dict[str, tuple[Lie, str]] = {
    "complex": (with_state({"x": torch.zeros(2, dtype=torch.complex128)}), "has dtype complex128"),
    "surrogate": (with_state({"\ud800": 1}), "has a key that UTF-8 cannot hold"),
    "large": (with_state({"x": torch.zeros(8 << 20)}), "the state holds 33554444 bytes, allowed are"),
    "bytes": (with_state({"x": b"?"}), "is a bytes"),
    "infinite": (with_state({"x": float("inf")}), "is inf"),
    "no table": (with_state([]), "is a list, not a table"),
    "NaN reported": (with_report({"loss": float("nan")}), "report 'loss' is nan"),
    "much reported": (with_report({f"{n:040}": 0.5 for n in range(200_000)}), "the report has 200000 numbers"),
    "text reported": (with_report({"loss": "low"}), "report 'loss' is a str"),
    "many tensors": (lambda reply: replace(reply, arrays={**reply.arrays, **NOTHINGS}), "tensors, allowed are"),
    "many examples": (lambda reply: replace(reply, n_examples=10**400), "claims a number of more than 64 bits"),
}  # fmt: skip


@pytest.fixture
def two_rounds(tables, tmp_path):
    """Plays a round in which client 0 lies, stops, reads the checkpoint and plays an honest one."""
    prepared = prepare(parse(tables))
    server, worker = prepared.server, prepared.make_worker()

    def play(lie: Lie):
        def lying(instructions):
            for instruction in instructions:
                reply = worker.fit(instruction)
                yield lie(reply) if instruction.client_id == 0 else reply

        state, first = run_round(server, prepared.start, lying)
        checkpoint.save(tmp_path, state, RUN)
        again = checkpoint.load(tmp_path, RUN)
        _, second = run_round(server, again, lambda instructions: map(worker.fit, instructions))
        return again, first, second

    return play


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_by_client_id_and_the_run_goes_on_after_a_resume(lie, two_rounds):
    change, reason = LIES[lie]
    state, first, second = two_rounds(change)
    assert list(first.refused) == [0]
    assert reason in first.refused[0]
    assert "\n" not in first.refused[0]
    assert list(first.weights) == list(first.clients) == [1, 2, 3, 4]
    assert 0 not in state.clients
    assert second.refused == {}
    for record in (first, second):
        json.dumps(asdict(record), allow_nan=False)


def test_a_state_whose_parts_share_memory_is_kept_with_memory_of_its_own(two_rounds):
    state, first, second = two_rounds(with_state({"a": SHARED, "b": [SHARED, SHARED[1:]], "c": (1, "x")}))
    assert first.refused == second.refused == {}
    kept = state.clients[0]
    assert kept["a"].tolist() == kept["b"][0].tolist() == [0, 0, 0, 0]
    assert kept["b"][1].tolist() == [0, 0, 0]
    assert kept["c"] == [1, "x"]


def test_keys_with_slashes_do_not_write_over_each_other(two_rounds):
    state, _, _ = two_rounds(with_state({"a/b": torch.ones(2), "a": {"b": torch.zeros(3)}}))
    assert state.clients[0]["a/b"].tolist() == [1, 1]
    assert state.clients[0]["a"]["b"].tolist() == [0, 0, 0]


def test_the_spec_says_how_much_may_be_kept_and_reported(tables):
    tables["server"] = {"guard": {"state_ratio": 0.5, "report_keys": 3, "max_norm": 10.0}}
    guard = prepare(parse(tables)).server.guard
    assert (guard.state_ratio, guard.report_keys, guard.max_norm, guard.max_examples) == (0.5, 3, 10.0, 1e7)
