"""From which parameters a client starts a round, where that is not the same vector for all of them.

Nearly every rule makes one model, and its clients start from that. A rule may also keep several models apart, each of
other clients; then it says from which one a client starts, and the client's update is what it added to that one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from hauberk.strategies.base import State, last_rule


@runtime_checkable
class Starts(Protocol):
    """A rule whose clients do not all start from the global parameters.

    Attributes:
        n_groups: how many models it keeps; each needs a client of the federation.
    """

    n_groups: int

    def start(self, client_id: int, parameters: Tensor, state: State | None) -> Tensor:
        """Returns what a client starts from, [n_params]; clients that start from the same get the same tensor.

        Args:
            client_id: who.
            parameters: the global ones, [n_params].
            state: what the rule remembers after the last round; None before the first.
        """
        ...


def keeps_models_apart(rule: Any) -> bool:
    """Returns whether clients of ``rule``, or of the rule that a chain ends in, start from different models."""
    return isinstance(last_rule(rule), Starts)


def starts_of(
    rule: Any, clients: Iterable[int], parameters: Tensor, state: State | None
) -> dict[int, Tensor]:
    """Returns from what each of ``clients`` starts, by client id."""
    if not isinstance(rule, Starts):
        return dict.fromkeys(clients, parameters)
    return {client: rule.start(client, parameters, state) for client in clients}
