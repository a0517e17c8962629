"""The reference engine: every client in this process, one after another."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from hauberk.clients.worker import ClientReply, Instruction
from hauberk.experiments.runner.setup import Prepared
from hauberk.server.app import Stopped
from hauberk.server.run_rounds import Observer, run_rounds
from hauberk.server.state import ServerState


def run_inline(
    prepared: Prepared, state: ServerState, observer: Observer, stop: threading.Event
) -> ServerState:
    """Plays the rounds that are left; a client that raises is recorded, one that hangs is not noticed."""
    worker = prepared.make_worker()

    def dispatch(instructions: Sequence[Instruction]) -> Iterator[ClientReply]:
        for instruction in instructions:
            if stop.is_set():
                raise Stopped
            try:
                yield worker.fit(instruction)
            except Exception as error:  # whatever goes wrong on a client is the server's to record
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                yield ClientReply(instruction.client_id, None, 0, {}, {}, error=reason)

    spec = prepared.spec
    return run_rounds(prepared.server, state, dispatch, spec.federation.rounds, spec.server.threads, observer)
