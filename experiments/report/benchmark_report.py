"""All that a benchmark's report says, before it is written as a page or as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hauberk.experiments.report.clean_cost import REFERENCE, clean_cost_map
from hauberk.experiments.report.curves import CurveGrid, curve_grids
from hauberk.experiments.report.frames import FINISHED, NO_ATTACK, STATUSES, Frames
from hauberk.experiments.report.heat_maps import HeatMap, attack_heat_maps
from hauberk.experiments.report.ranks import Board, boards
from hauberk.experiments.report.resources import Resources, Unfinished, resources, unfinished
from hauberk.experiments.report.trade_offs import TradeOff, trade_offs
from hauberk.tasks.base import Metric


@dataclass(frozen=True)
class ReportMeta:
    """What a report says of the benchmark beside its figures.

    Attributes:
        name: of the benchmark.
        command: the exact command that made the results.
        versions: package -> version that the results depend on.
        notes: paragraphs for the reader, put under the title.
        root: the folder that the cells' ``run_dir`` are relative to; None where they are not beside the report.
    """

    name: str
    command: str
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    root: Path | None = None


@dataclass(frozen=True)
class BenchmarkReport:
    """A benchmark's report.

    Attributes:
        heat_maps: each metric with its maps, of which the first is over all settings.
        clean_cost: the metric lost without attack; None where that cannot be known.
        trade_offs: the worst attacker of each rule beside what it is worth without one, a setting each.
    """

    meta: ReportMeta
    frames: Frames
    heat_maps: tuple[tuple[Metric, list[HeatMap]], ...]
    clean_cost: HeatMap | None
    trade_offs: list[TradeOff]
    boards: list[Board]
    curves: list[CurveGrid]
    resources: list[Resources]
    unfinished: list[Unfinished]
    reference: str = REFERENCE

    @property
    def counts(self) -> dict[str, int]:
        """How many cells have finished, and how many have each other status that there is."""
        found = self.frames.cells["status"].value_counts()
        return {
            status: int(found.get(status, 0)) for status in STATUSES if status == FINISHED or status in found
        }

    @property
    def is_finished(self) -> bool:
        """Whether every cell has finished."""
        return self.counts[FINISHED] == len(self.frames.cells)

    @property
    def measured_costs(self) -> list[tuple[str, str, int]]:
        """Which costs beside time were measured: label, attribute of a `Resources`, digits behind the point."""
        known = (("peak MB", "memory_mb", 0), ("sent MB", "sent_mb", 1), ("received MB", "received_mb", 1))
        return [
            cost for cost in known if any(not math.isnan(getattr(one, cost[1])) for one in self.resources)
        ]

    @property
    def size(self) -> str:
        """How large the grid is, in words; that nobody lies is no attack."""
        attacks = sum(name != NO_ATTACK for name in self.frames.attacks)
        counts = {
            "rule": len(self.frames.rules),
            "attack": attacks,
            "setting": len(self.frames.settings),
            "seed": self.n_seeds,
        }
        return ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for name, count in counts.items())

    @property
    def n_seeds(self) -> int:
        """How many seeds the grid has."""
        return int(self.frames.cells["seed"].nunique())


def build_report(frames: Frames, meta: ReportMeta) -> BenchmarkReport:
    """Returns the report of a benchmark, finished or not."""
    found = [(metric, attack_heat_maps(frames, metric)) for metric in frames.metrics]
    return BenchmarkReport(
        meta=meta,
        frames=frames,
        heat_maps=tuple((metric, maps) for metric, maps in found if maps),
        clean_cost=clean_cost_map(frames),
        trade_offs=trade_offs(frames),
        boards=boards(frames),
        curves=curve_grids(frames),
        resources=resources(frames),
        unfinished=unfinished(frames),
    )
