"""A finished run's rounds, played again in this process: each is a function of the state before it alone.

Only what a machine did to a client (killed, lost, too slow) is no function of that: such a client is refused again
with its recorded reason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hauberk.clients.messages import ClientReply, Instruction
from hauberk.experiments.engines.inline import InlineEngine
from hauberk.experiments.runner.chain import MODEL, alike
from hauberk.experiments.runner.identity import Identity, identity_of, read_identity
from hauberk.experiments.runner.records import NOT_EVALUATED, read_rounds, read_run
from hauberk.experiments.runner.run_dir import CHECKPOINT, line_of
from hauberk.experiments.runner.setup import Prepared, prepare
from hauberk.experiments.spec import loader
from hauberk.server import checkpoint
from hauberk.server.evaluation import NATURAL
from hauberk.server.measuring import MeasuredHere
from hauberk.server.round import Dispatch, run_round
from hauberk.server.server import Server
from hauberk.server.state import ServerState, model_sha256
from hauberk.strategies.base import AggregationContext
from hauberk.strategies.update_matrix import CollectedUpdates, UpdateMatrix
from hauberk.tasks.errors import UserError

NOT_REPLAYED = ("seconds", NATURAL)  # what a clock says, and what another run says
ERROR = "error reply: "  # before what the guard quotes of a client that failed
INITIAL = "the initial model"
Line = Mapping[str, Any]
Keep = Callable[[CollectedUpdates, AggregationContext, list[int]], None]


class AnotherRun(UserError):
    """The run's spec, data, version or device are not what they were."""


@dataclass(frozen=True, eq=False)
class PlayedRound:
    """One round, played again.

    Attributes:
        before: the parameters before it, [n_params].
        state: after it.
        line: what it would record today.
    """

    before: Tensor
    state: ServerState
    line: Line


@dataclass(frozen=True, eq=False)
class Replay:
    """A finished run that can be played again.

    Attributes:
        folder: the run's, which is left alone.
        prepared: the run before its first round.
        lines: its recorded rounds, by number.
    """

    folder: Path
    prepared: Prepared
    identity: Identity
    lines: Mapping[int, Line]

    def nearest(self, number: int) -> tuple[ServerState, str]:
        """Returns the last state that is kept from before round ``number``, and what it is.

        Raises:
            UserError: the run had no such round, or the checkpoint is damaged.
        """
        if number not in self.lines:
            raise UserError(f"--round: must be one of the rounds 1 to {len(self.lines)}, got {number}")
        state = checkpoint.load(self.folder / CHECKPOINT, self.identity, at_most=number - 1)
        if state is None:
            return self.prepared.start, INITIAL
        return state, f"the checkpoint of round {state.round}"

    def play(self, state: ServerState, last: int, keep: Keep | None = None) -> Iterator[PlayedRound]:
        """Plays the rounds after ``state`` up to ``last``; ``keep`` is handed the updates of the last one."""
        torch.set_num_threads(self.prepared.spec.server.threads)
        rounds = frozenset() if keep is None else frozenset([last])
        server = replace(self.prepared.server, keep_rounds=rounds, keep=keep)
        with InlineEngine(threading.Event()) as engine:
            dispatch = engine.dispatch(self.prepared)
            while state.round < last:
                before, line = state.parameters, self.lines[state.round + 1]
                state, record = run_round(server, state, _as_recorded(dispatch, server, line))
                model = model_sha256(state.parameters, server.layout)
                measured = NOT_EVALUATED not in line
                metrics = MeasuredHere(server, state).result() if measured else server.evaluate.nothing
                yield PlayedRound(before, state, {MODEL: model, **line_of(record, metrics)})


def open_replay(run: str | Path) -> Replay:
    """Returns the finished run in the folder ``run``, ready to be played again.

    Raises:
        AnotherRun: its spec, data, version or device are not what they were.
        UserError: there is no finished run, or a part of it was given in Python.
    """
    run = Path(run)
    tables, summary = read_run(run)
    if given := summary.get("given_in_python"):
        raise UserError(
            f"{run}: its {' and '.join(given)} came from Python, so the folder alone cannot be played"
        )
    spec = loader.parse(tables, where=f"{run / 'spec.toml'}: ")
    splits = spec.parts.task.splits(spec.seed)
    identity = read_identity(run)
    if other := checkpoint.differences(identity, identity_of(spec.hash, splits, spec.device)):
        raise AnotherRun(f"{run}: what would be played again is no longer the same, it was of {other}")
    lines = {line["round"]: line for line in read_rounds(run) if "failed" not in line}
    return Replay(run, prepare(spec, splits=splits), identity, lines)


def difference(recorded: Line, played: Line) -> str | None:
    """Returns in what a round that was played again is not the recorded one, in one line; None: in nothing."""
    keys = [key for key in played if key not in NOT_REPLAYED and key in recorded]
    different = [key for key in keys if not alike(recorded[key], played[key])]
    if not different:
        return None
    shown = [_shown(key, recorded[key], played[key]) for key in different]
    return "; ".join(shown[:3]) + (f"; and {len(shown) - 3} more" if len(shown) > 3 else "")


def _shown(key: str, recorded: Any, played: Any) -> str:
    if isinstance(recorded, Mapping) and isinstance(played, Mapping):
        own = {str(name): value for name, value in played.items()}
        for name in [*recorded, *own]:
            if not alike(recorded.get(name), own.get(name)):
                return _shown(f"{key}.{name}", recorded.get(name), own.get(name))
    return f"{key} was {_brief(recorded)} and is {_brief(played)}"


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else f"{text[:21]}..."


def _as_recorded(dispatch: Dispatch, server: Server, line: Line) -> Dispatch:
    """Returns ``dispatch``, but with the clients refused that the recorded round refused."""
    refused = line["refused"]
    forging = server.attack is not None and server.attack.forge is not None

    def ask(instructions: Sequence[Instruction]) -> Iterator[ClientReply]:
        for reply, instruction in zip(dispatch(instructions), instructions, strict=True):
            client = instruction.client_id
            reason = refused.get(str(client))
            forged = forging and client in line["malicious"]  # the guard refuses what is sent in its stead
            if reason is None or forged or (reply.error is None and _is_refused(server, instruction, reply)):
                yield reply
            elif reason.startswith(ERROR):
                yield ClientReply(client, None, error=reason.removeprefix(ERROR))

    return ask


def _is_refused(server: Server, instruction: Instruction, reply: ClientReply) -> bool:
    """Returns whether the guard would refuse a reply by itself."""
    parameters = torch.cat([torch.as_tensor(value).reshape(-1) for value in instruction.parameters.values()])
    rows = UpdateMatrix([instruction.client_id], server.layout, parameters, server.guard)
    rows.add(reply)
    return bool(rows.close().refused)
