"""The repairs of one experiment, and when each of them runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from hauberk.server.assets import ServerAssets
from hauberk.server.repairs.base import Repair, Report
from hauberk.tasks.seeds import generator

Reports = dict[str, Report]


@dataclass(frozen=True, kw_only=True, eq=False)
class Repairs:
    """Repairs in their order, by name, with what they work on.

    Attributes:
        assets: all but the generator, which each repair gets for itself in each round.
        seed: the experiment's.
    """

    assets: ServerAssets
    seed: int
    steps: Mapping[str, Repair] = field(default_factory=dict)

    @property
    def at_end(self) -> bool:
        """Whether any runs after the last round alone."""
        return any(step.every is None for step in self.steps.values())

    def after(self, parameters: Tensor, round: int) -> tuple[Tensor, Reports]:
        """Returns the parameters [n_params] after the repairs of ``round``, and their reports by name."""
        names = [name for name, step in self.steps.items() if step.acts(round)]
        return self._apply(names, parameters, round)

    def after_training(self, parameters: Tensor, round: int) -> tuple[Tensor, Reports]:
        """Returns the parameters after the repairs that run once, after the last ``round``."""
        names = [name for name, step in self.steps.items() if step.every is None]
        return self._apply(names, parameters, round)

    def _apply(self, names: Iterable[str], parameters: Tensor, round: int) -> tuple[Tensor, Reports]:
        reports: Reports = {}
        for name in names:
            assets = self.assets.with_rng(generator(self.seed, round, f"repair {name}"))
            parameters, reports[name] = self.steps[name](parameters, assets)
        return parameters, reports
