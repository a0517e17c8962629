"""One round, the same for every engine: sample, send, guard, forge, aggregate, evaluate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from hauberk.attacks import Attack, Collusion, stealth
from hauberk.clients.client import ClientReply, Instruction
from hauberk.clients.training import Training
from hauberk.server.behaviour import logits_of
from hauberk.server.evaluation import Evaluation, Metrics
from hauberk.server.repairs.apply import Repairs, Reports
from hauberk.server.root import root_update
from hauberk.server.state import ServerState
from hauberk.strategies import theory
from hauberk.strategies.base import Aggregation, Cohort, TooFewClientsError, needs_of
from hauberk.strategies.geometry import gram_matrix
from hauberk.strategies.guard import Guard
from hauberk.strategies.layout import Layout
from hauberk.strategies.rows import Collected, Reply, Rows
from hauberk.tasks.encoding import Encoded
from hauberk.tasks.models.base import TextModel
from hauberk.tasks.parameters import load_state
from hauberk.tasks.seeds import generator

Dispatch = Callable[[Sequence[Instruction]], Iterable[ClientReply]]


class RoundFailed(RuntimeError):
    """A round has fewer usable updates than its rule needs; exit code 3.

    Attributes:
        refused: why, by client id.
    """

    def __init__(self, message: str, refused: dict[int, str] | None = None) -> None:
        super().__init__(message)
        self.refused = refused or {}


@dataclass(frozen=True)
class Server:
    """What does not change from round to round.

    Attributes:
        aggregate: the rule.
        repairs: what is done to the aggregated model.
        model: the one instance that evaluates; its parameters are overwritten.
        layout: name, shape and slice of each tensor in the parameter vector.
        clean: the server's own examples, where it has any.
        keep_rounds: the rounds whose updates are kept on disk, by ``keep``.
    """

    aggregate: Any
    training: Training
    evaluate: Evaluation
    repairs: Repairs
    model: TextModel
    layout: Layout
    seed: int
    n_clients: int
    cohort_size: int
    attack: Attack | None = None
    n_malicious: int = 0
    clean: Encoded | None = None
    keep_rounds: frozenset[int] = frozenset()
    keep: Callable[[Collected, Cohort, list[int]], None] | None = None
    guard: Guard = field(default_factory=Guard)


@dataclass(frozen=True)
class Record:
    """What one round leaves in ``rounds.jsonl``."""

    round: int
    metrics: Metrics
    sampled: list[int]
    malicious: list[int]
    weights: dict[int, float] | None
    refused: dict[int, str]
    report: dict[str, float]
    forensics: dict[str, float]
    repairs: Reports
    clients: dict[int, dict[str, float]]
    seconds: dict[str, float]


def play_round(server: Server, state: ServerState, dispatch: Dispatch) -> tuple[ServerState, Record]:
    """Returns the state after one more round and its record.

    Raises:
        RoundFailed: the guard left fewer updates than the rule needs.
    """
    clock = Clock()
    number = state.round + 1
    sampled = sample(server, number)
    rows = Rows(sampled, server.layout, state.parameters, server.guard)
    replies: dict[int, ClientReply] = {}
    for reply in dispatch(instructions(server, state, number, sampled)):
        rows.add(Reply(reply.client_id, reply.arrays, reply.n_examples, reply.error))
        replies.setdefault(reply.client_id, replace(reply, arrays=None))
    clock.lap("clients")
    malicious = [client for client in sampled if client in attackers(server, number)]
    forge(server, state, number, rows, malicious)
    collected = rows.close()
    clock.lap("guard")
    cohort = cohort_of(server, state, number, collected.client_ids, collected.n_examples)
    if number in server.keep_rounds and server.keep is not None:
        server.keep(collected, cohort, malicious)
    result = aggregate(server, state, cohort, collected)
    clock.lap("aggregate")
    evidence = forensics(server, collected, malicious)
    clock.lap("forensics")
    parameters = state.parameters + result.update
    parameters, repaired = server.repairs.after(parameters, number)
    clock.lap("repairs")
    load_state(server.model, parameters)
    metrics = server.evaluate(server.model)
    clock.lap("evaluate")
    accepted = {client: replies[client] for client in collected.client_ids}
    clients = {**state.clients, **{client: reply.state for client, reply in accepted.items() if reply.state}}
    record = Record(
        number, metrics, list(sampled), malicious, _weights(result.weight, collected), collected.refused,
        result.report, evidence, repaired, {client: reply.report for client, reply in accepted.items()}, clock.seconds,
    )  # fmt: skip
    return ServerState(number, parameters, result.state, clients), record


def sample(server: Server, number: int) -> list[int]:
    """Returns the client ids that round ``number`` asks, in order; a function of the seed and the round alone."""
    order = torch.randperm(server.n_clients, generator=generator(server.seed, number, "sample"))
    return sorted(order[: server.cohort_size].tolist())


def attackers(server: Server, number: int) -> tuple[int, ...]:
    """Returns the client ids that lie in round ``number``, whether they are asked or not."""
    if server.attack is None:
        return ()
    return server.attack.attackers(
        number, n_clients=server.n_clients, n_malicious=server.n_malicious, seed=server.seed
    )


def instructions(
    server: Server, state: ServerState, number: int, sampled: Sequence[int]
) -> list[Instruction]:
    """Returns what each sampled client is told; the parameters are views of the one global vector."""
    arrays = {name: tensor.numpy() for name, tensor in server.layout.unflatten(state.parameters).items()}
    return [
        Instruction(client, number, arrays, state.clients.get(client, {}), server.training, tuple(sampled))
        for client in sampled
    ]


def forge(server: Server, state: ServerState, number: int, rows: Rows, malicious: list[int]) -> None:
    """Lets the colluders rewrite their rows, in place and before the guard looks at them."""
    if server.attack is None or server.attack.forge is None:
        return
    own = [client for client in malicious if client in rows.accepted]
    benign = [client for client in rows.accepted if client not in malicious]
    if not own or not benign:
        return
    collusion = Collusion(
        own=torch.stack([rows.row(client) for client in own]),
        benign=torch.stack([rows.row(client) for client in benign]),
        parameters=state.parameters,
        aggregate=rule_for(
            server, state, number, {client: rows.claimed[client] for client in [*own, *benign]}
        ),
        round=number,
        history=tuple(bool(attackers(server, earlier)) for earlier in range(1, number)),
    )
    forged = server.attack.forge(collusion, generator(server.seed, number, "forge"))
    for client, row in zip(own, forged, strict=True):
        rows.row(client).copy_(row)


def rule_for(
    server: Server, state: ServerState, number: int, claimed: Mapping[int, float]
) -> Callable[[Tensor], Tensor]:
    """Returns this round's rule as colluders may try it: rows in the order of ``claimed`` -> the update.

    What a cohort costs, such as the server's own update, is computed only if they try, and then once.
    """
    known: list[Cohort] = []

    def aggregated(rows: Tensor) -> Tensor:
        if not known:
            known.append(cohort_of(server, state, number, tuple(claimed), tuple(claimed.values())))
        cohort = replace(known[0], rng=generator(server.seed, number, "aggregate"))
        return server.aggregate(rows, cohort=cohort, state=state.aggregator).update

    return aggregated


def cohort_of(
    server: Server,
    state: ServerState,
    number: int,
    client_ids: tuple[int, ...],
    n_examples: tuple[float, ...],
) -> Cohort:
    """Returns what the rule may know beside the rows."""
    root = logits = None
    wanted, precision, device = wants(server.aggregate), server.evaluate.precision, server.evaluate.device
    if server.clean is not None and "root_update" in wanted:
        rng = generator(server.seed, number, "root")
        root = root_update(server.model, state.parameters, server.clean, server.training, rng, device)
    if "logits" in wanted:
        rng = generator(server.seed, number, "logits")
        logits = logits_of(server.model, server.aggregate, rng, precision=precision, device=device)
    return Cohort(
        client_ids=client_ids,
        n_examples=n_examples,
        parameters=state.parameters,
        layout=server.layout,
        root_update=root,
        logits=logits,
        round=number,
        rng=generator(server.seed, number, "aggregate"),
    )


def wants(rule: Any) -> frozenset[str]:
    """Returns the fields of a cohort that a rule needs, or can use where they are there."""
    return needs_of(rule) | frozenset(getattr(rule, "uses", ()))


def aggregate(server: Server, state: ServerState, cohort: Cohort, collected: Collected) -> Aggregation:
    """Returns the rule's aggregation of the rows that passed the guard."""
    try:
        if not collected.client_ids:
            raise TooFewClientsError("no usable update is left.")
        return server.aggregate(collected.updates, cohort=cohort, state=state.aggregator)
    except TooFewClientsError as error:
        refused = "; ".join(f"client {client}: {reason}" for client, reason in collected.refused.items())
        raise RoundFailed(
            f"round {cohort.round} failed: {error} Refused: {refused}", collected.refused
        ) from None


def forensics(server: Server, collected: Collected, malicious: list[int]) -> dict[str, float]:
    """Returns what theory and the stealth measures say of the rows that passed the guard.

    Nothing where nobody lies or too few are left.
    """
    lies = torch.tensor([client in malicious for client in collected.client_ids])
    if not lies.any() or len(lies) < 4 or int((~lies).sum()) < 2:
        return {}
    rows, gram = collected.updates, gram_matrix(collected.updates)
    return {
        **theory.report(rows, lies, layout=server.layout, gram=gram),
        **stealth.update_stealth(rows, lies, gram),
        **stealth.rank_stealth(rows, lies, gram=gram),
    }


def _weights(weight: Tensor | None, collected: Collected) -> dict[int, float] | None:
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
