"""A client's round, wherever it runs: an instruction in, a reply out, and nothing remembered in between.

A worker process serves many clients. It keeps what is expensive and never changes (the encoded examples, a
model to write parameters into); all else is a function of the instruction and the experiment's seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks import Attack, AttackerContext
from hauberk.clients.embedding_compaction import active_rows, compacted, is_exact, table_name
from hauberk.clients.messages import ClientReply, Instruction
from hauberk.clients.session import Session
from hauberk.tasks.base import EncodedExamples, Task
from hauberk.tasks.parameters import flatten, load_state, state_of, unflatten
from hauberk.tasks.seeds import generator, seeded


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkerConfig:
    """What a process needs to do the rounds of any client of an experiment; the same for all processes.

    Attributes:
        task: what is learned, bound to its data.
        seed: the experiment's.
        examples: all training examples.
        encoded: the same, as numbers.
        partitions: the rows of each client.
        attack: what malicious clients do.
        n_malicious: how many there are; the attack's schedule says who, by default clients 0 to n_malicious - 1.
        threads: how many threads a client computes with; the bits depend on it.
        device: where models train.
        compact: whether to leave out unused word vectors while that gives the same bits.
    """

    task: Task
    seed: int
    examples: Sequence[Any]
    encoded: EncodedExamples
    partitions: Sequence[np.ndarray]
    attack: Attack | None = None
    n_malicious: int = 0
    threads: int = 1
    device: str = "cpu"
    compact: bool = True


class Worker:
    """Does the rounds of any client of an experiment; one in each process."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        with threads_set(config.threads):
            self.model = config.task.build(config.seed).to(config.device)
        self._learns = [(parameter, parameter.requires_grad) for parameter in self.model.parameters()]

    def fit(self, instruction: Instruction, *, lent: bool = False) -> ClientReply:
        """Trains one client for one round; what its training raises comes out as it is.

        Args:
            instruction: what is asked.
            lent: whether the reply may be the model's own memory, good until the next call, with those rows of the
                word table alone that were trained; one of a client that lies never is.

        The reply's bits depend on the instruction, the seed and the number of threads alone; torch's global
        generator and thread count are as before afterwards.
        """
        rng = generator(self.config.seed, instruction.round, instruction.client_id, "train")
        with threads_set(self.config.threads), seeded(rng):
            self.receive(instruction.parameters)
            return self._round(instruction, rng, lent)

    def predict(
        self, parameters: Mapping[str, np.ndarray], examples: EncodedExamples, precision: str, threads: int
    ) -> Tensor:
        """Returns the answers of the model of ``parameters`` to ``examples``, [n, ...] on the CPU."""
        with threads_set(threads):
            self.receive(parameters)
            return self.config.task.predict(
                self.model, examples, precision=precision, device=self.config.device
            )

    def attack_of(self, client_id: int, round: int) -> Attack | None:
        """Returns what a client does beside its honest work in a round, or ``None``."""
        return self.config.attack if client_id in self.attackers(round) else None

    def attackers(self, round: int) -> tuple[int, ...]:
        """Returns the clients that attack in a round, ascending, whether they are asked or not."""
        config = self.config
        if config.attack is None:
            return ()
        n_clients = len(config.partitions)
        return config.attack.attackers(
            round, n_clients=n_clients, n_malicious=config.n_malicious, seed=config.seed
        )

    def _round(self, instruction: Instruction, rng: torch.Generator, lent: bool) -> ClientReply:
        attack = self.attack_of(instruction.client_id, instruction.round)
        tamper = attack.tamper if attack else None
        session, report, trained = self._train(instruction, attack, rng)
        changing = attack if attack and _changes_update(attack) else None
        lent = lent and changing is None
        weights = state_of(self.model, copy=not lent)
        if changing is not None:
            session.reference = _tensors(instruction.parameters, self.config.device)
            weights = _changed(weights, changing, session)
        arrays = {name: value.cpu().numpy() for name, value in weights.items()}
        rows = {} if trained is None or not lent else {table_name(self.model): trained}
        arrays |= {name: arrays[name][chosen] for name, chosen in rows.items()}
        reply = ClientReply(
            instruction.client_id, arrays, len(session.data), session.state, report, rows=rows
        )
        return reply if tamper is None else tamper.answer(reply, session)

    def _train(
        self, instruction: Instruction, attack: Attack | None, rng: torch.Generator
    ) -> tuple[Session, dict[str, float], np.ndarray | None]:
        """Returns the session, its report, and the rows of the word table that were trained; None for them all."""
        tamper = attack.tamper if attack else None
        settings = self._settings(instruction, attack)
        exact = self.config.compact and is_exact(settings["training"], tamper)
        rows = self._active_rows(settings["data"]) if exact else None
        with compacted(self.model, rows):
            session = Session(
                task=self.config.task,
                model=self.model,
                rng=rng,
                device=self.config.device,
                received=partial(self._received, instruction.parameters, rows),
                **settings,
            )
            return session, session.train() if tamper is None else tamper.train(session), rows

    def _received(self, parameters: Mapping[str, np.ndarray], rows: np.ndarray | None) -> dict[str, Tensor]:
        """Returns the parameters received, of the word table these ``rows`` alone."""
        if rows is not None:
            name = table_name(self.model)
            parameters = {**parameters, name: parameters[name][rows]}
        return _tensors(parameters, self.config.device)

    def _active_rows(self, data: Any) -> np.ndarray | None:
        return active_rows(self.model, self.config.task.embedding_rows(data))

    def _settings(self, instruction: Instruction, attack: Attack | None) -> dict[str, Any]:
        client_id, training = instruction.client_id, instruction.training
        sampled = instruction.sampled or range(len(self.config.partitions))
        attackers = self.attackers(instruction.round)
        common = {
            "client_id": client_id,
            "round": instruction.round,
            "n_clients": len(sampled),
            "n_attackers": len(set(attackers).intersection(sampled)) if attack else 0,
            "state": dict(instruction.state),
        }
        rows = self.config.partitions[client_id]
        if attack is None:
            return {**common, "training": training, "data": self.config.encoded.take(rows)}
        attacker = AttackerContext(attackers.index(client_id), len(attackers))
        before = range(1, instruction.round) if len(sampled) == len(self.config.partitions) else range(0)
        return {
            **common,
            "training": training if attack.keep_plugins else replace(training, plugins=()),
            "data": self._poisoned(
                rows, attack, attacker, generator(self.config.seed, instruction.round, client_id, "poison")
            ),
            "examples": [self.config.examples[row] for row in rows],
            "history": tuple(client_id in self.attackers(earlier) for earlier in before),
            "poison": attack.poison,
            "attacker": attacker,
        }

    def _poisoned(
        self, rows: np.ndarray, attack: Attack, attacker: AttackerContext, rng: torch.Generator
    ) -> EncodedExamples:
        """Returns a malicious client's data: first the examples that stay clean, then the poisoned ones."""
        task = self.config.task
        if attack.poison is None:
            return self.config.encoded.take(rows)
        clean = [self.config.examples[row] for row in rows]
        row_of = {id(example): row for example, row in zip(clean, rows, strict=True)}
        poisoned = attack.poison(clean, attacker, rng)
        kept = self.config.encoded.take(
            [row_of[id(example)] for example in poisoned if id(example) in row_of]
        )
        made = [example for example in poisoned if id(example) not in row_of]
        return task.concatenate([kept, task.encode(made)]) if made else kept

    def receive(self, parameters: Mapping[str, np.ndarray] | Tensor) -> None:
        """Makes the kept model as if new: earlier rounds leave no gradients and no frozen tensors behind."""
        for parameter, learns in self._learns:
            parameter.requires_grad_(learns)
            parameter.grad = None
        load_state(self.model, parameters)


@contextmanager
def threads_set(n: int) -> Iterator[None]:
    """Runs its block with ``n`` torch threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _changes_update(attack: Attack) -> bool:
    """Returns whether a liar sends another update than the one that it trained; what is forged is forged later."""
    return attack.tamper is not None or (attack.scale != 1 and attack.forge is None)


def _changed(weights: dict[str, Tensor], attack: Attack, session: Session) -> dict[str, Tensor]:
    """Returns the weights that make the server see the update that ``attack`` wants."""
    start = flatten(session.reference)
    update = flatten(weights) - start
    sent = update if attack.tamper is None else attack.tamper.send(update, session)
    if attack.scale != 1 and attack.forge is None:
        sent = attack.scale * sent
    # What was trained goes out as it is, and not by way of a difference, which rounds.
    return weights if sent is update else unflatten(start + sent, weights)


def _tensors(parameters: Mapping[str, np.ndarray], device: str) -> dict[str, Tensor]:
    return {name: torch.tensor(value, device=device) for name, value in parameters.items()}
