"""What passes between server and client in a round, however it travels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hauberk.clients.settings import Training
from hauberk.strategies.update_matrix import Reply as ClientReply

__all__ = ["ClientReply", "Handshake", "Instruction"]


@dataclass(frozen=True)
class Handshake:
    """What a node says of itself before the first round.

    Attributes:
        client_id: which partition of the data it has been given.
        version: of hauberk.
        layout: a digest of the tensors that its model sends.
        agreed: digests of what else server and clients must have in common, by its name.
    """

    client_id: int
    version: str
    layout: str
    agreed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Instruction:
    """What the server asks of one client.

    Attributes:
        client_id: whom, by partition.
        round: which round, from 1.
        parameters: the model that the client starts from, by name.
        state: what this client returned in its last reply.
        training: how to train.
        sampled: the clients of this round; by default all there are.
    """

    client_id: int
    round: int
    parameters: Mapping[str, np.ndarray]
    state: dict[str, Any] = field(default_factory=dict)
    training: Training = field(default_factory=Training)
    sampled: tuple[int, ...] = ()
