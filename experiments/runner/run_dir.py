"""A run's folder: ``spec.toml``, ``rounds.jsonl``, ``summary.json``, ``curves.png`` and ``checkpoint/``."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hauberk.experiments.spec.loader import Spec
from hauberk.server import checkpoint
from hauberk.server.checkpoint import write_whole
from hauberk.server.round import Record
from hauberk.server.state import ServerState
from hauberk.tasks.errors import UserError


class RunDir:
    """Where one run keeps what it did. Nothing finished is ever overwritten by another spec."""

    def __init__(self, path: str | Path, spec_hash: str) -> None:
        self.path = Path(path)
        self.spec_hash = spec_hash

    @property
    def summary(self) -> dict[str, Any] | None:
        """The summary of a finished run; None before."""
        path = self.path / "summary.json"
        return _read_json(path) if path.exists() else None

    def look(self, spec: Spec, *, resume: bool) -> ServerState | None:
        """Returns the state to go on from, None to begin; writes nothing.

        Raises:
            UserError: it holds another run, or an unfinished one without ``resume``, or a damaged checkpoint.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: --out must name a folder, and this is a file")
        self._refuse_other_spec()
        state = checkpoint.load(self.path / "checkpoint", self.spec_hash)
        if state is not None and not resume:
            raise UserError(
                f"{self.path}: holds this run, unfinished after round {state.round} of {spec.federation.rounds}; "
                "--resume goes on, another --out begins anew"
            )
        return state

    def begin(self, spec: Spec, played: int) -> None:
        """Makes the folder ready for the rounds after ``played``."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / "spec.toml", f"# spec_hash = {self.spec_hash}\n{spec.to_toml()}".encode())
        self._keep_rounds(played)

    def _refuse_other_spec(self) -> None:
        path = self.path / "spec.toml"
        if not path.exists():
            if self.path.exists() and any(self.path.iterdir()):
                raise UserError(f"{self.path}: --out must be a run's folder or empty; this holds other files")
            return
        other = path.read_text(encoding="utf8").partition("\n")[0].removeprefix("# spec_hash = ")
        played = any((self.path / "checkpoint").glob("*"))
        if other != self.spec_hash and played:
            raise UserError(
                f"{self.path}: holds a run of another spec ({other[:8]}, not {self.spec_hash[:8]}); "
                "choose another --out"
            )

    def _keep_rounds(self, last: int) -> None:
        path = self.path / "rounds.jsonl"
        lines = path.read_text(encoding="utf8").splitlines() if path.exists() else []
        kept = [
            line for line in map(_parsed, lines) if line and line["round"] <= last and "failed" not in line
        ]
        write_whole(path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def record(self, line: dict[str, Any]) -> None:
        """Appends one JSON line to ``rounds.jsonl``."""
        with (self.path / "rounds.jsonl").open("a", encoding="utf8") as file:
            file.write(json.dumps(line) + "\n")

    def keep(self, state: ServerState) -> None:
        """Checkpoints ``state``."""
        checkpoint.save(self.path / "checkpoint", state, self.spec_hash)

    def rounds(self) -> list[dict[str, Any]]:
        """The recorded rounds."""
        return read_rounds(self.path)

    def finish(self, summary: dict[str, Any]) -> None:
        """Writes the summary: from here on the run is finished."""
        write_whole(self.path / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())


def line_of(record: Record) -> dict[str, Any]:
    """Returns a record as one flat JSON line: the metrics stand beside the round."""
    line = asdict(record)
    return {"round": line.pop("round"), **line.pop("metrics"), **line}


def read_run(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the spec tables and the summary of a finished run.

    Raises:
        UserError: there is no run, or it is not finished.
    """
    path = Path(path)
    if not (path / "spec.toml").exists():
        raise UserError(f"{path}: holds no run (no spec.toml)")
    if not (path / "summary.json").exists():
        raise UserError(f"{path}: this run is not finished; hauberk run --resume goes on")
    return tomllib.loads((path / "spec.toml").read_text(encoding="utf8")), _read_json(path / "summary.json")


def read_rounds(path: str | Path) -> list[dict[str, Any]]:
    """Returns the recorded rounds of a run's folder."""
    text = (Path(path) / "rounds.jsonl").read_text(encoding="utf8")
    return [line for line in map(_parsed, text.splitlines()) if line]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: damaged: {error}") from None


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except json.JSONDecodeError:  # the line that a kill cut short; its round is played again
        return None
