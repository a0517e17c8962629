"""How long a backdoor lives after its attackers have left.

Sources: the lifespan, how many rounds the attack success rate stays at one half or more after the last attack, in Zhang
et al., "Neurotoxin: Durable Backdoors in Federated Learning", ICML 2022. The half-life is that of what the attack did
beyond the natural rate, and so independent of a threshold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hauberk.server.evaluation import NATURAL

RATE = "attack_success_rate"
THRESHOLD = 0.5  # of the success rate, below which a backdoor is dead
LEAST = (
    0.05  # above natural: with less at the last attack there is nothing whose half could be told from noise
)


def durability(rounds: Sequence[Mapping[str, Any]], last_attack: int) -> dict[str, float | None]:
    """Returns how long the backdoor lived after round ``last_attack``; nothing where it or no later one was measured.

    Args:
        rounds: all recorded ones, in order.
        last_attack: the last round in which anybody may lie; 0 where there is none.

    Returns:
        ``half_life``: the rounds until what the attack succeeds above natural is half of what it was, between two
        rounds in proportion; above the floor where no natural rate is known. ``lifespan``: the rounds until it succeeds
        on less than half of the examples. Both are None where that did not happen in the ``rounds_after`` that were
        played, the half-life also where there was next to nothing to halve.
    """
    after = [line for line in rounds if line["round"] >= last_attack and line.get(RATE) is not None]
    if not last_attack or len(after) < 2 or after[0]["round"] != last_attack:
        return {}
    since = [float(line["round"] - last_attack) for line in after]
    dead = [past for past, line in zip(since, after, strict=True) if line[RATE] < THRESHOLD]
    return {
        "half_life": _half_life(since, _above(after)),
        "lifespan": dead[0] if dead else None,
        "rounds_after": since[-1],
    }


def _above(rounds: Sequence[Mapping[str, Any]]) -> list[float]:
    """Returns the success rates above what there would be without the attack, as well as that is known."""
    known = all(line.get(NATURAL) is not None for line in rounds)
    key = NATURAL if known else "attack_success_floor"
    return [line[RATE] - (line[key] or 0.0) for line in rounds]


def _half_life(since: Sequence[float], above: Sequence[float]) -> float | None:
    half = above[0] / 2
    if above[0] < LEAST:
        return None
    for place in range(1, len(above)):
        before, now = above[place - 1], above[place]
        if now <= half:
            share = (before - half) / (before - now)
            return since[place - 1] + share * (since[place] - since[place - 1])
    return None
