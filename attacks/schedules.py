"""Schedules: in which rounds the attackers act, and which clients they are.

A backdoor that fades after its attackers have left has a half-life; "window" and "single_shot" show it.
Source of the single shot: Bagdasaryan et al., AISTATS 2020; of attackers drawn anew in every round: Sun et
al., "Can You Really Backdoor Federated Learning?", 2019 (random sampling against a fixed frequency).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator

Ids = Literal["fixed", "random"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When attackers act, and who they are.

    Args:
        ids: "fixed", clients 0 to n_malicious - 1; or "random", n_malicious of all clients, drawn anew for
            each round from the experiment's seed.
    """

    ids: Ids = "fixed"

    def __post_init__(self) -> None:
        if self.ids not in get_args(Ids):
            raise UserError(f"ids: must be one of {', '.join(get_args(Ids))}, got {self.ids!r}")

    def acts(self, round: int) -> bool:
        """Returns whether anyone attacks in ``round``, counted from 1."""
        raise NotImplementedError(f"{type(self).__name__} does not say when to act.")

    def attackers(self, round: int, *, n_clients: int, n_malicious: int, seed: int) -> tuple[int, ...]:
        """Returns the ids of the clients that attack in ``round``, ascending, whether they are asked or not.

        A function of its arguments alone, so that the server and every worker agree without a message.

        Raises:
            UserError: if there are more attackers than clients.
        """
        if n_malicious > n_clients:
            raise UserError(
                "federation.n_malicious: must be at most federation.n_clients, "
                f"got n_malicious={n_malicious} and n_clients={n_clients}"
            )
        if not self.acts(round):
            return ()
        if self.ids == "fixed":
            return tuple(range(n_malicious))
        order = torch.randperm(n_clients, generator=generator(seed, round, "attackers"))
        return tuple(sorted(order[:n_malicious].tolist()))

    def check(self, rounds: int) -> list[str]:
        """Returns a warning if nobody attacks in rounds 1 to ``rounds``."""
        if any(self.acts(round) for round in range(1, rounds + 1)):
            return []
        return [f"attack.schedule: nobody attacks in any of the rounds 1 to {rounds}"]


@dataclass(frozen=True, kw_only=True)
class Always(Schedule):
    """Attacks in every round."""

    def acts(self, round: int) -> bool:
        """Returns True."""
        return True


@dataclass(frozen=True, kw_only=True)
class Window(Schedule):
    """Attacks from one round to another, both included.

    Args:
        first: the first round of the attack.
        last: the last one.
    """

    first: int = 1
    last: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_round("first", self.first)
        if self.last < self.first:
            raise UserError(f"last: must not be before first, got first={self.first} and last={self.last}")

    def acts(self, round: int) -> bool:
        """Returns whether ``round`` lies in the window."""
        return self.first <= round <= self.last


@dataclass(frozen=True, kw_only=True)
class SingleShot(Schedule):
    """Attacks once.

    Args:
        round: when.
    """

    round: int

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_round("round", self.round)

    def acts(self, round: int) -> bool:
        """Returns whether ``round`` is the one."""
        return round == self.round


@dataclass(frozen=True, kw_only=True)
class Every(Schedule):
    """Attacks in every k-th round.

    Args:
        k: how many rounds lie between the beginnings of two attacks.
        first: the first round of attack.
    """

    k: int
    first: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_round("first", self.first)
        if not self.k >= 1:
            raise UserError(f"k: must be at least 1, got {self.k!r}")

    def acts(self, round: int) -> bool:
        """Returns whether ``round`` is one of them."""
        return round >= self.first and (round - self.first) % self.k == 0


SCHEDULES: dict[str, type[Schedule]] = {
    "always": Always,
    "every": Every,
    "single_shot": SingleShot,
    "window": Window,
}


def _check_round(key: str, value: int) -> None:
    if not value >= 1:
        raise UserError(f"{key}: must be a round from 1, got {value!r}")
