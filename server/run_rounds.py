"""The rounds of a run, one after another; what the model of one is worth may come while the next one trains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from hauberk.clients.worker import ClientReply, Instruction
from hauberk.server.measuring import Measure, Measured, is_due
from hauberk.server.round import Dispatch, Record, Server, run_round
from hauberk.server.state import ServerState


class Observer(Protocol):
    """Who watches a run: makes its rounds last, shows them, or both."""

    def round_started(self, number: int, n_clients: int) -> None:
        """Round ``number`` asks ``n_clients`` clients."""

    def reply_received(self, reply: ClientReply) -> None:
        """One reply arrived."""

    def round_finished(self, state: ServerState, record: Record, measured: Measured | None) -> None:
        """A round is finished, and the next begins when this returns.

        Args:
            state: the server after it.
            record: what it leaves, but for what its model is worth.
            measured: that, which may be on its way; None in a round that is not measured.
        """


def run_rounds(
    server: Server,
    state: ServerState,
    dispatch: Dispatch,
    measure: Measure,
    rounds: int,
    threads: int,
    observer: Observer,
) -> ServerState:
    """Plays on from ``state`` until ``rounds`` rounds are finished, and returns the last state."""
    # Bits depend on the thread count, and a count set in another thread does not reach this one.
    torch.set_num_threads(threads)
    while state.round < rounds:
        state, record = run_round(server, state, _observed(dispatch, observer))
        measured = measure(state) if is_due(server, state.round, rounds) else None
        observer.round_finished(state, record, measured)
    return state


def _observed(dispatch: Dispatch, observer: Observer) -> Dispatch:
    def observed(instructions: Sequence[Instruction]) -> Iterator[ClientReply]:
        observer.round_started(instructions[0].round, len(instructions))
        for reply in dispatch(instructions):
            observer.reply_received(reply)
            yield reply

    return observed
