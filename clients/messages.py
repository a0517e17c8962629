"""What passes between server and client in a round, however it travels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hauberk.clients.settings import Training


@dataclass(frozen=True, eq=False)
class Instruction:
    """What the server asks of one client.

    Attributes:
        client_id: whom, by partition.
        round: which round, from 1.
        parameters: the global model, by name.
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


@dataclass(frozen=True, eq=False)
class ClientReply:
    """What a client answers.

    Attributes:
        client_id: who.
        arrays: its weights, by name; ``None`` where it failed.
        n_examples: on how many texts it trained.
        state: what it wants back in its next round.
        report: scalars worth logging.
        error: why it failed, in one line.
    """

    client_id: int
    arrays: dict[str, np.ndarray] | None
    n_examples: int
    state: dict[str, Any] = field(default_factory=dict)
    report: dict[str, float] = field(default_factory=dict)
    error: str | None = None
