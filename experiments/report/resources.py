"""What cells cost, what has not finished and why."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from hauberk.experiments.report.frames import FINISHED, Frames

MEGABYTE = 1e6


@dataclass(frozen=True)
class Resources:
    """What the cells of one rule with one model on one data set took; NaN where it was not measured.

    Attributes:
        seconds: the median wall time of a cell.
        slowest: the longest.
        memory_mb: the highest peak.
        sent_mb: what the server sent in a cell, in the mean.
        received_mb: what it received.
    """

    rule: str
    setting: str
    n_cells: int
    seconds: float
    slowest: float
    memory_mb: float
    sent_mb: float
    received_mb: float


@dataclass(frozen=True)
class Unfinished:
    """Cells that have the same status for the same reason."""

    status: str
    reason: str
    cells: tuple[str, ...]


def resources(frames: Frames) -> list[Resources]:
    """Returns what each rule's finished cells took, by model and data set where these vary."""
    keys = [name for name in ("model", "dataset") if name in frames.facets]
    done = frames.cells[frames.cells["status"] == FINISHED]
    groups = done.groupby(["rule", *keys], sort=False)
    return [_resources(name, cells) for name, cells in groups]


def unfinished(frames: Frames) -> list[Unfinished]:
    """Returns the cells that failed or are missing, by reason."""
    rest = frames.cells[frames.cells["status"] != FINISHED]
    names = ["rule", "attack", *frames.facets]
    found = []
    for (status, reason), cells in rest.groupby(["status", "reason"], sort=True):
        rows = cells[[*names, "seed"]].itertuples(index=False, name=None)
        found.append(
            Unfinished(status, reason, tuple(f"{' · '.join(row[:-1])} · seed {row[-1]}" for row in rows))
        )
    return found


def _resources(name: tuple[str, ...], cells: pd.DataFrame) -> Resources:
    return Resources(
        rule=name[0],
        setting=" · ".join(name[1:]),
        n_cells=len(cells),
        seconds=cells["wall_seconds"].median(),
        slowest=cells["wall_seconds"].max(),
        memory_mb=cells["peak_memory_mb"].max(),
        sent_mb=cells["bytes_sent"].mean() / MEGABYTE,
        received_mb=cells["bytes_received"].mean() / MEGABYTE,
    )
