"""TensorBoard: event files that ``tensorboard --logdir`` shows while the run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hauberk.experiments.tracking.base import Followed, Status, library


@dataclass(frozen=True, kw_only=True)
class TensorBoard:
    """Writes event files.

    Args:
        uri: a folder, in which each run has one with the name of its own; by default ``tensorboard`` in the run's.
    """

    uri: str | None = None

    def open(self, run: Followed) -> TensorBoardRun:
        """Opens a new event file beside those of earlier starts, of which rounds after the last recorded one go."""
        library("tensorboard")
        writer = library("torch.utils.tensorboard").SummaryWriter
        folder = run.folder / "tensorboard" if self.uri is None else Path(self.uri) / run.folder.name
        events = writer(str(folder), purge_step=run.played + 1)
        if not run.played:
            text = json.dumps(dict(run.settings), indent=1)
            events.add_text("spec", f"```\n{text}\n```")
        return TensorBoardRun(events, run.played)


@dataclass(frozen=True, eq=False)
class TensorBoardRun:
    """One run's event file; what was recorded before this start is in those before."""

    events: Any
    knows: int

    def log(self, number: int, values: Mapping[str, float]) -> None:  # noqa: D102
        for name, value in values.items():
            self.events.add_scalar(name, value, number)
        self.events.flush()

    def finish(self, values: Mapping[str, float], tags: Mapping[str, str]) -> None:  # noqa: D102
        lines = [f"| {name} | {value} |" for name, value in {**values, **tags}.items()]
        self.events.add_text("summary", "\n".join(["| | |", "|---|---|", *lines]))

    def close(self, status: Status) -> None:  # noqa: D102
        self.events.close()
