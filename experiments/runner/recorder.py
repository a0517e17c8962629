"""Who makes the rounds of a run last, and shows them.

The order of writing, and why no stop loses what is finished: a round's checkpoint is written first, beside the next
round, and holds the round's record but for what its model is worth, which may still be on its way. The record is
written when that is there; never before its checkpoint, and always before the checkpoint of the next round. So
whenever a run is stopped, all rounds before that of the newest checkpoint have records, and where the newest's own is
missing the checkpoint has it: going on measures that model again, which gives the same figures, and records it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from hauberk.clients.worker import ClientReply
from hauberk.experiments.engines.base import Engine
from hauberk.experiments.runner.chain import MODEL
from hauberk.experiments.runner.costs import Traffic, peak_memory_mb, reset_peak
from hauberk.experiments.runner.progress import Screen
from hauberk.experiments.runner.records import NOT_EVALUATED
from hauberk.experiments.runner.run_dir import RunDir, line_of
from hauberk.experiments.runner.twin import ModelStore
from hauberk.server.evaluation import NATURAL
from hauberk.server.measuring import Measured
from hauberk.server.round import Record, RoundFailed
from hauberk.server.server import Server
from hauberk.server.state import ServerState, model_sha256


@dataclass(eq=False)
class Open:
    """A finished round whose record is not written yet.

    Attributes:
        line: its record, but for what its model is worth.
        measured: that; None where it is not measured.
        checkpoint: comes to the model's hash when the round's checkpoint is on the disk.
    """

    line: dict[str, Any]
    measured: Measured | None
    checkpoint: Future

    def done(self) -> bool:
        """Returns whether nothing has to be waited for."""
        return self.checkpoint.done() and (self.measured is None or self.measured.done())


class Recorder:
    """Checkpoints, records and shows each round.

    Args:
        folder: the run's.
        screen: who shows it.
        engine: where its clients train.
        server: whose rounds they are.
        state: after which the first round comes; None for the untrained model.
        natural: the natural rate by round, where it is known.
        models: where the model of each round is kept, where it is.
    """

    def __init__(
        self,
        folder: RunDir,
        screen: Screen,
        engine: Engine,
        server: Server,
        state: ServerState | None,
        *,
        natural: Mapping[int, float] | None = None,
        models: ModelStore | None = None,
    ) -> None:
        self._folder, self._screen, self._engine = folder, screen, engine
        self._server, self._natural, self._models = server, natural or {}, models
        self._traffic = Traffic(server.layout)
        self._since = time.perf_counter()
        self._open: Open | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.round = state.round if state else 0

    def started(self) -> None:
        """Shows what there is to say of who takes part."""
        reset_peak()
        for warning in self._engine.warnings:
            self._screen.warned(warning)

    def recover(self, line: dict[str, Any], measured: Measured) -> None:
        """Takes up the record of a round whose checkpoint was written before a stop, and its record was not."""
        there: Future = Future()
        there.set_result(line[MODEL])
        self._open = Open(line, None if NOT_EVALUATED in line else measured, there)

    def round_started(self, number: int, n_clients: int) -> None:  # noqa: D102
        self._traffic.send(n_clients)
        self._screen.round_started(number, n_clients)

    def reply_received(self, reply: ClientReply) -> None:  # noqa: D102
        self._traffic.receive(reply)
        self._screen.reply_received(reply)
        self.settle_what_is_done()

    def round_finished(self, state: ServerState, record: Record, measured: Measured | None) -> None:  # noqa: D102
        self._settle()
        now = time.perf_counter()
        line = (
            line_of(record, self._server.evaluate.nothing)
            | self._machines()
            | {"bytes": self._traffic.counted(), "peak_memory_mb": round(peak_memory_mb(), 1)}
            | {"wall": round(now - self._since, 3)}
        )
        if measured is None:
            line[NOT_EVALUATED] = "server.evaluate_every"
        self._since = now
        self._open = Open(line, measured, self._writer.submit(self._keep, state, dict(line)))
        self.round = state.round
        if measured is None or measured.done():
            self._settle()

    def settle_what_is_done(self) -> None:
        """Records the last finished round if nothing has to be waited for."""
        if self._open is not None and self._open.done():
            self._settle()

    def finished(self) -> None:
        """Records the last round of all, with the workers that were lost after it."""
        if self._open is not None:
            self._measure(self._open)
            self._open.line["lost"] = [*self._open.line["lost"], *self._engine.take_losses()]
            self._settle()

    def failed(self, error: RoundFailed) -> None:
        """Records why the round after the last finished one failed."""
        self._settle()
        about = {"failed": str(error), "refused": error.refused, **self._machines()}
        self._folder.record({"round": self.round + 1, **about})

    def close(self) -> None:
        """Records what can be without waiting for others: the rest is in the checkpoint, which is awaited."""
        self._writer.shutdown()
        self.settle_what_is_done()

    def _keep(self, state: ServerState, line: Mapping[str, Any]) -> str:
        if self._models is not None:
            self._models.keep(state)
        digest = model_sha256(state.parameters, self._server.layout)
        self._folder.keep(state, {**line, MODEL: digest})
        return digest

    def _settle(self) -> None:
        """Records the last finished round, once it is known what its model is worth."""
        if self._open is None:
            return
        self._measure(self._open)
        line = {**self._open.line, MODEL: self._open.checkpoint.result()}
        self._open = None
        self._folder.record(line)
        self._screen.round_finished(line)

    def _measure(self, one: Open) -> None:
        """Puts into a record what its model is worth, and the seconds that the run waited for that."""
        if one.measured is None:
            return
        started = time.perf_counter()
        found = dict(one.measured.result())
        waited, one.measured = time.perf_counter() - started, None
        number = one.line["round"]
        if number in self._natural:
            found[NATURAL] = self._natural[number]
        one.line |= found
        # Nothing is written into what the thread that writes the checkpoint may be reading.
        one.line["seconds"] = {**one.line["seconds"], "evaluate": round(waited, 4)}
        one.line["wall"] = round(one.line["wall"] + waited, 3)
        self._since += waited  # it is this round's, not the next one's

    def _machines(self) -> dict[str, Any]:
        """Returns what a record holds of the machines: workers that were lost, nodes that were refused at the start."""
        engine = self._engine
        refused, late = engine.take_refused_nodes(), engine.take_late()
        return {
            "lost": engine.take_losses(),
            **({"refused_nodes": refused} if refused else {}),
            **({"late": late} if late else {}),
        }
