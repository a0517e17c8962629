"""OptimisedALIE: ALIE with the z that does most harm to the rule in use.

Sources: Baruch, Baruch and Goldberg, NeurIPS 2019; Gonzalez et al., "ByzFL", 2025, for the search.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hauberk.attacks.forges._optimised import Optimised
from hauberk.attacks.forges.alie import Form, check_form, rows_within_bound


@dataclass(frozen=True, kw_only=True)
class OptimisedALIE(Optimised):
    """Searches z.

    Args:
        form: "shift", mu - z * sigma; "clip", own updates cut to mu +- z * sigma, so that they keep a backdoor.
            No clipped update does more harm than the whole one: against a mean the search ends there.
    """

    form: Form = "shift"
    most: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_form(self.form)

    def forged(self, own: Tensor, mean: Tensor, std: Tensor, strength: float) -> Tensor:
        """Returns the rows of ALIE with z = ``strength``."""
        return rows_within_bound(self.form, own, mean, std, strength)
