"""One round, the same for every engine: sample, send, guard, forge, aggregate; who measures its model is another's."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from hauberk.clients.worker import ClientReply, Instruction
from hauberk.server.collusion import forge
from hauberk.server.forensics import forensics
from hauberk.server.gpu_aggregation import aggregate_where_it_fits
from hauberk.server.repair_steps import Reports
from hauberk.server.server import Server, aggregation_context, attackers, sample
from hauberk.server.state import ServerState
from hauberk.strategies.base import Aggregation, AggregationContext, TooFewClientsError
from hauberk.strategies.kernels.geometry import Geometry
from hauberk.strategies.starting import starts_of
from hauberk.strategies.update_matrix import CollectedUpdates, UpdateMatrix

Dispatch = Callable[[Sequence[Instruction]], Iterable[ClientReply]]


class Stopped(Exception):
    """The run was asked to stop; the unfinished round is dropped."""


class RoundFailed(RuntimeError):
    """A round has fewer usable updates than its rule needs; exit code 3.

    Attributes:
        refused: why, by client id.
    """

    def __init__(self, message: str, refused: dict[int, str] | None = None) -> None:
        super().__init__(message)
        self.refused = refused or {}


@dataclass(frozen=True)
class Record:
    """What one round leaves in ``rounds.jsonl``, beside what its model is worth."""

    round: int
    sampled: list[int]
    malicious: list[int]
    knowledge: str | None  # what the attack declares that its attackers know
    weights: dict[int, float] | None
    refused: dict[int, str]
    report: dict[str, float]
    forensics: dict[str, float]
    repairs: Reports
    clients: dict[int, dict[str, float]]
    seconds: dict[str, float]


def run_round(server: Server, state: ServerState, dispatch: Dispatch) -> tuple[ServerState, Record]:
    """Returns the state after one more round and its record.

    Raises:
        RoundFailed: the guard left fewer updates than the rule needs.
    """
    clock = Clock()
    number = state.round + 1
    sampled = sample(server, number)
    starts = starts_of(server.rule, sampled, state.parameters, state.aggregator)
    rows = UpdateMatrix(sampled, server.layout, starts, server.guard, server.memory)
    for reply in dispatch(instructions(server, state, number, sampled)):
        rows.add(reply)
    clock.lap("clients")
    lying = set(attackers(server, number))
    malicious = [client for client in sampled if client in lying]
    forged = forge(server, state, number, rows, malicious)
    collected = rows.close()
    clock.lap("guard")
    context = aggregation_context(server, state, number, collected.client_ids, collected.n_examples)
    if number in server.keep_rounds and server.keep is not None:
        server.keep(collected, context, malicious)
    result = aggregate(server, state, context, collected)
    clock.lap("aggregate")
    evidence = forged | examine(server, number, collected, malicious, result.geometry)
    clock.lap("forensics")
    parameters = state.parameters + result.update
    parameters, repaired = server.repairs.after(parameters, number)
    clock.lap("repairs")
    record = Record(
        number, list(sampled), malicious, server.attack.knowledge if server.attack else None,
        _weights(result.weight, collected), collected.refused, result.report, evidence, repaired,
        collected.reports, clock.seconds,
    )  # fmt: skip
    return ServerState(
        number, parameters, server.memory.apart(result.state), state.client_states.changed(collected.states)
    ), record


def instructions(
    server: Server, state: ServerState, number: int, sampled: Sequence[int]
) -> list[Instruction]:
    """Returns what each sampled client is told; the parameters are views of the vector that it starts from.

    Clients that start from the same vector are told the same mapping.
    """
    starts = starts_of(server.rule, sampled, state.parameters, state.aggregator)
    arrays = {id(start): server.layout.arrays(start) for start in starts.values()}
    return [
        Instruction(
            client, number, arrays[id(start)], state.clients.get(client, {}), server.training, tuple(sampled)
        )
        for client, start in starts.items()
    ]


def aggregate(
    server: Server, state: ServerState, context: AggregationContext, collected: CollectedUpdates
) -> Aggregation:
    """Returns the rule's aggregation of the rows that passed the guard."""
    try:
        if not collected.client_ids:
            raise TooFewClientsError("no usable update is left.")
        return aggregate_where_it_fits(
            server.rule, collected.updates, context, state.aggregator, server.evaluate.device
        )
    except TooFewClientsError as error:
        refused = "; ".join(f"client {client}: {reason}" for client, reason in collected.refused.items())
        raise RoundFailed(
            f"round {context.round} failed: {error} Refused: {refused}", collected.refused
        ) from None


def examine(
    server: Server, number: int, collected: CollectedUpdates, malicious: list[int], known: Geometry | None
) -> dict[str, float]:
    """Returns the forensics of round ``number``: in full every so many rounds, else what the rule measured anyway."""
    every = server.forensics_every
    if every == 0:
        return {}
    in_full = (number - 1) % every == 0
    return forensics(server.layout, collected, malicious, known, in_full=in_full)


def _weights(weight: Tensor | None, collected: CollectedUpdates) -> dict[int, float] | None:
    if weight is None:
        return None
    return {
        client: round(value, 6) for client, value in zip(collected.client_ids, weight.tolist(), strict=True)
    }


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """Books the time since the last lap on ``stage``."""
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 4)
        self._last = now
