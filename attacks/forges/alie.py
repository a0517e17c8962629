"""ALIE: a little is enough; stay where honest updates could be, all colluders on the same side.

Source: Baruch, Baruch and Goldberg, "A Little Is Enough: Circumventing Defenses For Distributed Learning",
NeurIPS 2019: mu - z * sigma for preventing convergence, and for a backdoor what was trained, clipped to
mu +- z * sigma; z is the largest shift with which s = floor(n / 2 + 1) - f honest clients are still farther out.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, get_args

import torch
from torch import Tensor

from hauberk.attacks.forges._moments import mean_and_std, repeated
from hauberk.attacks.forges.base import Collusion, Forge
from hauberk.tasks.errors import UserError

Form = Literal["clip", "shift"]


@dataclass(frozen=True, kw_only=True)
class ALIE(Forge):
    """Keeps what the colluders trained, and so their backdoor, inside the bound; or sends the bound itself.

    Args:
        form: "clip", own updates cut to mu +- z * sigma; "shift", mu - z * sigma.
        z: how many standard deviations; by default the paper's figure for the clients of the round.
        floor: the least z that the default may become: with few colluders the paper's figure is below 0.
    """

    form: Form = "clip"
    z: float | None = None
    floor: float = 0.3

    def __post_init__(self) -> None:
        check_form(self.form)
        if self.z is not None and not self.z > 0:
            raise UserError(f"z: must be above 0, got {self.z!r}")
        if not self.floor > 0:
            raise UserError(f"floor: must be above 0, got {self.floor!r}")

    def __call__(self, collusion: Collusion, rng: torch.Generator) -> Tensor:
        """Returns rows [m, d] inside the bound; nothing is random here."""
        mean, std = mean_and_std(collusion.benign)
        z = self.strength(len(collusion.own) + len(collusion.benign), len(collusion.own))
        collusion.report["z"] = z
        return rows_within_bound(self.form, collusion.own, mean, std, z)

    def strength(self, n_clients: int, n_malicious: int) -> float:
        """Returns z among ``n_clients`` of whom ``n_malicious`` collude."""
        return max(largest_z(n_clients, n_malicious), self.floor) if self.z is None else self.z

    def check(self, n_clients: int, n_malicious: int) -> list[str]:
        """Says so where z is floored."""
        due = largest_z(n_clients, n_malicious)
        if self.z is not None or not n_malicious or due >= self.floor:
            return []
        return [
            f"attack.forge: ALIE's z is {due:.2f} for n_clients={n_clients} and n_malicious={n_malicious}, "
            f"so its floor of {self.floor:g} is used"
        ]


def largest_z(n_clients: int, n_malicious: int) -> float:
    """Returns the paper's z_max; minus infinity where colluders are alone."""
    honest = n_clients - n_malicious
    supporters = max(1, n_clients // 2 + 1 - n_malicious)
    if honest <= supporters:
        return float("-inf")
    return NormalDist().inv_cdf((honest - supporters) / honest)


def rows_within_bound(form: str, own: Tensor, mean: Tensor, std: Tensor, z: float) -> Tensor:
    """Returns rows [m, d] in mean +- z * std [d]: ``own`` clipped to that, or its lower end."""
    if form == "clip":
        return own.clamp(mean - z * std, mean + z * std)
    return repeated(mean - z * std, own)


def check_form(form: str) -> None:
    """Raises UserError if ALIE has no such form."""
    if form not in get_args(Form):
        raise UserError(f"form: must be one of {', '.join(get_args(Form))}, got {form!r}")
