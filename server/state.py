"""What the server knows between two rounds: all of it, and nothing else survives a stop."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hauberk.server.client_states import ClientState, ClientStates
from hauberk.strategies.layout import Layout


@dataclass(frozen=True)
class ServerState:
    """The server after ``round`` rounds.

    Attributes:
        round: how many rounds are finished; 0 is the untrained model.
        parameters: the global parameters, shape [n_params], float32.
        aggregator: what the rule wants back next round; None when stateless.
        clients: each client's own state by client id, as it returned it in its last reply.
    """

    round: int
    parameters: Tensor
    aggregator: Any = None
    clients: Mapping[int, ClientState] = field(default_factory=ClientStates)

    @property
    def client_states(self) -> ClientStates:
        """The clients' states as what can be on the disk."""
        return self.clients if isinstance(self.clients, ClientStates) else ClientStates(self.clients)


def model_sha256(parameters: Tensor, layout: Layout) -> str:
    """Returns the digest of a model: names, shapes and float32 bytes in the layout's order."""
    digest = hashlib.sha256()
    for slot in layout:
        digest.update(f"{slot.name}{tuple(slot.shape)}".encode())
        digest.update(parameters[slot.slice].contiguous().numpy().data)
    return digest.hexdigest()
