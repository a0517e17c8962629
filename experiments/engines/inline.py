"""The reference engine: every client in this process, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hauberk.clients.worker import ClientReply, Instruction
from hauberk.experiments.engines.base import Engine
from hauberk.experiments.runner.setup import Prepared
from hauberk.server.round import Dispatch, Stopped


class InlineEngine(Engine):
    """Trains each client in this process; one that raises is recorded, one that hangs is not noticed."""

    name = "inline"

    def dispatch(self, prepared: Prepared) -> Dispatch:  # noqa: D102
        worker = prepared.make_worker()

        def ask(instructions: Sequence[Instruction]) -> Iterator[ClientReply]:
            for instruction in instructions:
                if self.stop.is_set():
                    raise Stopped
                try:
                    yield worker.fit(instruction, lent=True)  # the round copies it before it asks the next
                except Exception as error:  # whatever goes wrong on a client is the server's to record
                    reason = " ".join(f"{type(error).__name__}: {error}".split())
                    yield ClientReply(instruction.client_id, None, 0, {}, {}, error=reason)

        return ask
