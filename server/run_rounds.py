"""The rounds of a run, one after another, each recorded and checkpointed before the next begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch

from hauberk.clients.worker import ClientReply, Instruction
from hauberk.server.round import Dispatch, Record, Server, run_round
from hauberk.server.state import ServerState


class Observer(Protocol):
    """Who watches a run: makes its rounds last, shows them, or both."""

    def round_started(self, number: int, n_clients: int) -> None:
        """Round ``number`` asks ``n_clients`` clients."""

    def reply_received(self, reply: ClientReply) -> None:
        """One reply arrived."""

    def round_finished(self, state: ServerState, record: Record) -> None:
        """A round is finished; the next begins when this returns."""


def run_rounds(
    server: Server, state: ServerState, dispatch: Dispatch, rounds: int, threads: int, observer: Observer
) -> ServerState:
    """Plays on from ``state`` until ``rounds`` rounds are finished, and returns the last state."""
    # Bits depend on the thread count, and a count set in another thread does not reach this one.
    torch.set_num_threads(threads)
    while state.round < rounds:
        state, record = run_round(server, state, _observed(dispatch, observer))
        observer.round_finished(state, record)
    return state


def _observed(dispatch: Dispatch, observer: Observer) -> Dispatch:
    def observed(instructions: Sequence[Instruction]) -> Iterator[ClientReply]:
        observer.round_started(instructions[0].round, len(instructions))
        for reply in dispatch(instructions):
            observer.reply_received(reply)
            yield reply

    return observed
