"""What colluders make of their rows, in simulation, before the guard looks at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from hauberk.attacks import Collusion
from hauberk.attacks.threat_model import sees_benign_updates
from hauberk.server.server import Server, aggregation_context, attackers, sample
from hauberk.server.state import ServerState
from hauberk.strategies.base import AggregationContext
from hauberk.strategies.update_matrix import UpdateMatrix
from hauberk.tasks.seeds import generator

TRIED = "forge "  # before the purposes of the random draws of a rule that is only tried


def forge(
    server: Server, state: ServerState, number: int, rows: UpdateMatrix, malicious: list[int]
) -> dict[str, float]:
    """Lets the colluders rewrite their rows, in place and before the guard looks at them; returns what they report."""
    if server.attack is None or server.attack.forge is None:
        return {}
    own = [client for client in malicious if client in rows.accepted]
    # What the guard will refuse is no update: one NaN would make every mean, and so every forged row, a NaN.
    lying = set(malicious)
    benign = [client for client in rows.accepted if client not in lying and rows.odd_values(client) is None]
    if not own or (not benign and sees_benign_updates(server.attack.forge.knowledge)):
        return {}
    own_rows, benign_rows = rows.split(own, benign)
    collusion = Collusion(
        own=own_rows,
        benign=benign_rows,
        parameters=state.parameters,
        aggregate=rule_for(
            server, state, number, {client: rows.claimed[client] for client in [*own, *benign]}
        ),
        round=number,
        history=_history(server, number, own),
    )
    before = collusion.benign._version  # counts writes: these are the honest rows themselves
    forged = server.attack.forge(collusion, generator(server.seed, number, "forge"))
    if collusion.benign._version != before:
        raise ValueError(f"{type(server.attack.forge).__name__} wrote into the updates that it was shown.")
    for client, row in zip(own, forged, strict=True):
        rows.rewrite(client, row if server.attack.scale == 1 else server.attack.scale * row)
    return {f"forge/{key}": value for key, value in collusion.report.items()}


def rule_for(
    server: Server, state: ServerState, number: int, claimed: Mapping[int, float]
) -> Callable[[Tensor], Tensor]:
    """Returns this round's rule as colluders may try it: rows in the order of ``claimed`` -> the update.

    It knows what the server's rule knows: its state, and for a rule that trusts the server's own update just
    that update, from the server's private clean texts. Such colluders are the worst case. What they do not know
    is what the server draws at random: every try draws the same, but not the same as the server. What a context
    costs is computed only if they try, and then once.
    """
    known: list[AggregationContext] = []

    def aggregated(rows: Tensor) -> Tensor:
        if not known:
            known.append(
                aggregation_context(server, state, number, tuple(claimed), tuple(claimed.values()), TRIED)
            )
        context = replace(known[0], rng=generator(server.seed, number, f"{TRIED}aggregate"))
        return server.rule(rows, context=context, state=state.aggregator).update

    return aggregated


def _history(server: Server, number: int, clients: list[int]) -> tuple[tuple[bool, ...], ...]:
    """Returns for each of ``clients`` whether it attacked, for each round before ``number`` that asked it."""
    rounds = [(set(sample(server, earlier)), set(attackers(server, earlier))) for earlier in range(1, number)]
    return tuple(tuple(client in lying for asked, lying in rounds if client in asked) for client in clients)
