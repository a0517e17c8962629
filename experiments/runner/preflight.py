"""What the user should know before a run starts, a line each."""

from __future__ import annotations

from typing import Any

from torch import nn

from hauberk.attacks import Attack
from hauberk.attacks.threat_model import sees_benign_updates
from hauberk.experiments.spec.loader import Spec
from hauberk.server.server import Server, attackers, sample
from hauberk.tasks.base import Task, TaskSplits


def of_attack(
    spec: Spec, attack: Attack | None, splits: TaskSplits[Any], task: Task, model: nn.Module
) -> list[str]:
    """Returns what the attack itself has to say; raises UserError where it is impossible."""
    if attack is None:
        return []
    federation = spec.federation
    expected = round(federation.n_malicious * federation.cohort_size / federation.n_clients)
    return attack.check(
        splits.labels,
        task.tokenizer,
        model,
        n_clients=federation.cohort_size,
        n_malicious=max(1, expected),
        rounds=federation.rounds,
    )


def of_rule(server: Server) -> list[str]:
    """Returns what the rule has to say of so many clients, where it says anything."""
    notes: list[str] = getattr(server.aggregate, "notes", lambda _: [])(server.n_clients)
    return notes


def of_schedule(server: Server, rounds: int) -> list[str]:
    """Returns a warning where attackers are asked in no round in which they act, or where none but they are asked."""
    numbered = ((attackers(server, number), sample(server, number)) for number in range(1, rounds + 1))
    acting = [(set(lying), set(asked)) for lying, asked in numbered if lying]
    numbers = f"n_malicious={server.n_malicious} and {server.cohort_size} of {server.n_clients} clients asked"
    if acting and all(lying.isdisjoint(asked) for lying, asked in acting):
        return [
            f"attack.schedule: no attacker is asked in a round in which it acts, with {numbers} a round: nobody attacks"
        ]
    forge, alone = server.attack and server.attack.forge, sum(asked <= lying for lying, asked in acting)
    if forge is None or not sees_benign_updates(forge.knowledge) or not alone:
        return []
    return [
        f"attack.forge: {type(forge).__name__} needs benign updates, and {alone} of {rounds} rounds ask attackers "
        f"alone, with {numbers} a round: there they send what they trained"
    ]
