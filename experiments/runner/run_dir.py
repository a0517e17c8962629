"""A run's folder: its identity, spec, rounds, summary, curves and checkpoints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hauberk.experiments.runner.chain import BEFORE, CHAIN, hash_of, root_of
from hauberk.experiments.runner.identity import IDENTITY, Identity, read_identity
from hauberk.experiments.runner.records import (
    ROUNDS,
    SPEC,
    SUMMARY,
    read_line,
    read_rounds,
    read_summary,
    to_json,
)
from hauberk.experiments.spec.loader import Spec
from hauberk.server import checkpoint
from hauberk.server.durable import append_line, make_folder, write_whole
from hauberk.server.evaluation import Metrics
from hauberk.server.round import Record
from hauberk.server.state import ServerState
from hauberk.tasks.errors import UserError

CHECKPOINT = "checkpoint"
OURS = re.compile(
    r"\.lock|\.(identity\.json|spec\.toml)\.part|mlflow\.json|tensorboard"
)  # what a killed start may leave alone in a folder


class RunDir:
    """Where one run keeps what it did. Nothing that was played is ever overwritten by another run.

    Args:
        path: the folder.
        identity: of the run.
        given: what of it was given in Python instead of named by the spec, each in one line.
    """

    def __init__(self, path: str | Path, identity: Identity, given: Mapping[str, str] | None = None) -> None:
        self.path, self.identity, self.given = Path(path), identity, dict(given or {})
        self._before = root_of(identity)  # what the next line holds of the line before it

    @property
    def summary(self) -> dict[str, Any] | None:
        """The summary of a finished run; None before."""
        path = self.path / SUMMARY
        return read_summary(path) if path.exists() else None

    @property
    def finished(self) -> bool:
        """Whether the folder holds this very run, finished."""
        return (self.path / SUMMARY).exists() and read_identity(self.path) == self.identity

    def look(self, spec: Spec, *, resume: bool) -> ServerState | None:
        """Returns the state to go on from, None to begin; writes nothing.

        Raises:
            UserError: it holds another run, or an unfinished one without ``resume``, or something damaged.
        """
        if not holds_run(self.path):
            return None
        if other := checkpoint.differences(read_identity(self.path), self.identity):
            if self._played():
                raise UserError(f"{self.path}: holds a run of {other}; choose another --out")
            return None
        state = checkpoint.load(self.path / CHECKPOINT, self.identity)
        if state is None:
            return None
        if not resume:
            raise UserError(
                f"{self.path}: holds this run, unfinished after round {state.round} of {spec.federation.rounds}; "
                "--resume goes on, another --out begins anew"
            )
        self._kept_rounds(state.round)
        return state

    def begin(self, spec: Spec, played: int) -> None:
        """Makes the folder ready for the rounds after ``played``."""
        kept = self._kept_rounds(played) if played else []
        make_folder(self.path)
        write_whole(self.path / IDENTITY, (to_json(self.identity, indent=1) + "\n").encode())
        comments = [f"# {name}, given in Python: {text}\n" for name, text in self.given.items()]
        header = f"# spec_hash = {self.identity['spec']}\n"
        write_whole(self.path / SPEC, "".join([header, *comments, spec.to_toml()]).encode())
        lines = [to_json(line) for line in kept]
        write_whole(self.path / ROUNDS, "".join(f"{line}\n" for line in lines).encode())
        self._before = hash_of(lines[-1]) if lines else root_of(self.identity)

    def record(self, line: Mapping[str, Any]) -> None:
        """Appends one JSON line to the rounds, chained to the one before; it is on the disk when this returns."""
        text = to_json({**line, BEFORE: self._before})
        append_line(self.path / ROUNDS, text)
        self._before = hash_of(text)

    def keep(self, state: ServerState, line: Mapping[str, Any]) -> None:
        """Checkpoints ``state`` with the record of its round, which may lack what the model is worth."""
        checkpoint.save(self.path / CHECKPOINT, state, self.identity, to_json(line))

    def unrecorded(self, played: int) -> dict[str, Any] | None:
        """Returns the record of round ``played`` from its checkpoint, where a stop came before it was written."""
        if any(line["round"] == played for line in self.rounds()):
            return None
        return self._checkpointed(played)

    def rounds(self) -> list[dict[str, Any]]:
        """The recorded rounds."""
        return read_rounds(self.path)

    def finish(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Writes the summary and returns it with what the folder knows: from here on the run is finished."""
        given = {"given_in_python": self.given} if self.given else {}
        whole = {**summary, **given, "identity": self.identity, CHAIN: self._before}
        write_whole(self.path / SUMMARY, (to_json(whole, indent=2) + "\n").encode())
        return whole

    def _played(self) -> bool:
        """Whether anything of a run is here that cost time."""
        rounds = self.path / ROUNDS
        recorded = rounds.exists() and rounds.stat().st_size > 0
        return recorded or (self.path / SUMMARY).exists() or any((self.path / CHECKPOINT).glob("*"))

    def _kept_rounds(self, last: int) -> list[dict[str, Any]]:
        """Returns the records of the rounds up to ``last``, which have a checkpoint."""
        kept = [line for line in self.rounds() if line["round"] <= last and "failed" not in line]
        due = last - (self._checkpointed(last) is not None)
        missing = sorted(set(range(1, due + 1)) - {line["round"] for line in kept})
        if missing:
            raise UserError(
                f"{self.path / ROUNDS}: lacks round {missing[0]}, and the checkpoint is of round {last}: the records "
                "of this run are gone; choose another --out"
            )
        return kept

    def _checkpointed(self, number: int) -> dict[str, Any] | None:
        """Returns the record that the newest checkpoint holds, where it is of round ``number``."""
        text = checkpoint.record_in(self.path / CHECKPOINT)
        line = read_line(text, f"{self.path / CHECKPOINT}: record") if text else None
        return line if line and line["round"] == number else None


def holds_run(path: Path) -> bool:
    """Returns whether a folder holds a run; raises UserError if it is none, or holds other files."""
    if not path.exists():
        return False
    if not path.is_dir():
        raise UserError(f"{path}: --out must name a folder, and this is a file")
    if (path / IDENTITY).exists() or (path / SPEC).exists():
        return True
    if any(not OURS.fullmatch(entry.name) for entry in path.iterdir()):
        raise UserError(f"{path}: --out must be a run's folder or empty; this holds other files")
    return False


def line_of(record: Record, metrics: Metrics) -> dict[str, Any]:
    """Returns a record as one flat JSON line: the metrics stand beside the round."""
    line = asdict(record)
    return {"round": line.pop("round"), **metrics, **line}
