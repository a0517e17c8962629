"""What the parts of a run cost on this machine, each measured at the size of the spec before the run begins."""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from hauberk.clients.messages import ClientReply, Instruction
from hauberk.clients.worker import Worker
from hauberk.experiments.runner.setup import Prepared
from hauberk.server import checkpoint
from hauberk.server.round import RoundFailed, run_round
from hauberk.server.server import Server, attackers
from hauberk.strategies.serving import serves
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator

T = TypeVar("T")
FEW, MANY = 1, 6  # batches of the two rounds that a probed client trains
EVALUATED = 512  # examples
BLOCK, ABSENT = 128, 0.3  # made-up updates lack a share of a real one's blocks, as word tables lack words


@dataclass(frozen=True)
class ClientCost:
    """What one kind of client costs.

    Attributes:
        fixed_s: seconds of a round beside its batches.
        batch_s: seconds of a training batch.
        growth: on how many examples it trains for each that it holds; an attacker may add poisoned ones.
        reply: what it sent.
    """

    fixed_s: float
    batch_s: float
    growth: float
    reply: ClientReply

    def seconds(self, n_examples: float, batch_size: int, epochs: int) -> float:
        """Returns the seconds of a round of a client that holds ``n_examples``."""
        return self.fixed_s + epochs * ceil(self.growth * n_examples / batch_size) * self.batch_s


def probe_client(prepared: Prepared, client_id: int) -> ClientCost:
    """Returns what the round of a client costs: two rounds with a few of its examples, and the line through them."""
    training, size = prepared.server.training, prepared.server.training.batch_size
    held = prepared.worker.partitions[client_id]
    worker = Worker(prepared.worker)
    for _ in range(2):  # the first time pays for warming up: kernels are made for each length of texts
        few_s, few = fit(worker, prepared, client_id, held[: FEW * size])
        many_s, many = fit(worker, prepared, client_id, held[: MANY * size])
    n_few, n_many = (training.epochs * ceil(reply.n_examples / size) for reply in (few, many))
    # Where the client holds too little for a slope, all of its work is in the one point.
    batch_s = max(0.0, many_s - few_s) / (n_many - n_few) if n_many > n_few else many_s / n_many
    growth = many.n_examples / len(held[: MANY * size])
    return ClientCost(max(0.0, many_s - n_many * batch_s), batch_s, growth, many)


def fit(worker: Worker, prepared: Prepared, client_id: int, rows: np.ndarray) -> tuple[float, ClientReply]:
    """Returns the seconds of one client's first round with ``rows`` as its data, and its reply."""
    partitions = list(prepared.worker.partitions)
    partitions[client_id] = rows
    worker.config = replace(prepared.worker, partitions=partitions)
    server, start = prepared.server, prepared.start.parameters
    arrays = {name: tensor.numpy() for name, tensor in server.layout.unflatten(start).items()}
    instruction = Instruction(client_id, 1, arrays, {}, server.training, ())
    return timed(lambda: worker.fit(instruction))


class MadeUpReplies:
    """A dispatch that trains nobody: each client sends a real update of its kind, made its own by noise."""

    def __init__(self, server: Server, start: Tensor, honest: ClientReply, lying: ClientReply) -> None:
        self._server, self._start, self._lying = server, start, lying
        self._updates = {reply: _vector(server, reply) - start for reply in {honest, lying}}
        self._honest = honest
        rng = generator(server.seed, "plan")
        n_blocks = ceil(len(start) / BLOCK)
        self._noise = 1 + 0.3 * torch.randn(BLOCK * min(n_blocks, 8191), generator=rng)
        self._noise[
            (torch.rand(len(self._noise) // BLOCK, generator=rng) < ABSENT).repeat_interleave(BLOCK)
        ] = 0
        self.own_s = 0.0  # what making them up took, which no run pays

    def __call__(self, instructions: Sequence[Instruction]) -> Iterator[ClientReply]:
        """Yields the replies."""
        lying = set(attackers(self._server, instructions[0].round))
        for instruction in instructions:
            client_id = instruction.client_id
            seconds, reply = timed(partial(self._reply, client_id, client_id in lying))
            self.own_s += seconds
            yield reply

    def _reply(self, client_id: int, lies: bool) -> ClientReply:
        model = self._lying if lies else self._honest
        update = self._updates[model]
        noise = self._noise.roll(7919 * client_id).repeat(ceil(len(update) / len(self._noise)))[: len(update)]
        vector = noise.mul_(update).add_(self._start)
        arrays = {name: tensor.numpy() for name, tensor in self._server.layout.unflatten(vector).items()}
        return replace(model, client_id=client_id, arrays=arrays)


def probe_server(prepared: Prepared, honest: ClientReply, lying: ClientReply) -> dict[str, float]:
    """Returns the server's seconds a round by stage, from two rounds without training.

    Stages are those of a record, "clients" being what the server itself does with the replies as they come,
    "evaluate" and "checkpoint".

    Raises:
        UserError: the rule cannot work with what the guard leaves of such rounds.
    """
    server = prepared.server
    probed = replace(server, keep_rounds=frozenset(), keep=None)
    torch.set_num_threads(prepared.spec.server.threads)
    made_up = MadeUpReplies(probed, prepared.start.parameters, honest, lying)
    try:
        state, first = run_round(probed, prepared.start, made_up)
        made_up.own_s = 0.0
        state, second = run_round(probed, state, made_up)
    except RoundFailed as error:
        raise UserError(f"plan: {error}") from None
    seconds = {**second.seconds, "clients": second.seconds["clients"] - made_up.own_s}
    every = server.forensics_every or 1
    full, rest = first.seconds["forensics"], second.seconds["forensics"]
    seconds["forensics"] = full if every == 1 else (full + (every - 1) * rest) / every
    seconds["evaluate"] = probe_evaluation(prepared)
    with tempfile.TemporaryDirectory() as folder:
        seconds["checkpoint"], _ = timed(lambda: checkpoint.save(Path(folder), state, {}))
    return seconds


def probe_evaluation(prepared: Prepared) -> float:
    """Returns the seconds of one evaluation, clean and triggered; the model answers EVALUATED of the examples."""
    server, evaluation = prepared.server, prepared.server.evaluate
    order = torch.randperm(len(evaluation.clean), generator=generator(0, "plan")).numpy()
    part = evaluation.clean.take(order[:EVALUATED])

    def answer() -> object:
        return prepared.task.predict(
            server.model, part, precision=evaluation.precision, device=evaluation.device
        )

    answer()  # pays for warming up
    n_triggered = 0 if evaluation.triggered is None else len(evaluation.triggered)
    rule = server.aggregate
    passes = rule.passes(server.n_clients) if serves(rule) else 1
    return timed(answer)[0] * passes * (len(evaluation.clean) + n_triggered) / len(part)


def probe_carrying(reply: ClientReply) -> float:
    """Returns the seconds that a copy of one reply takes, on its way out of a worker."""
    return timed(lambda: pickle.dumps(reply.arrays, 5))[0]


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Returns the seconds of ``work()`` and what it returned."""
    started = time.perf_counter()
    value = work()
    return time.perf_counter() - started, value


def _vector(server: Server, reply: ClientReply) -> Tensor:
    assert reply.arrays is not None
    return torch.cat([torch.as_tensor(reply.arrays[slot.name]).reshape(-1).float() for slot in server.layout])
