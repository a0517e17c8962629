"""A finished run, opened again: its data, its model and its trigger, for questions that come later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from hauberk.experiments import spec as specs
from hauberk.experiments.folder import read_run
from hauberk.experiments.prepare import Prepared, prepare
from hauberk.server import checkpoint
from hauberk.server.evaluation import Metrics
from hauberk.server.repairs import Repair
from hauberk.server.repairs.apply import Reports
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import load_state


@dataclass(frozen=True, eq=False)
class Reopened:
    """A finished run.

    Attributes:
        prepared: as it was before the first round.
        summary: what ``summary.json`` holds.
        parameters: of the final model, after the repairs of its spec, [n_params].
    """

    prepared: Prepared
    summary: dict[str, Any]
    parameters: Tensor

    def metrics(self, parameters: Tensor) -> Metrics:
        """Returns what a model with these ``parameters`` [n_params] is worth on the test split."""
        server = self.prepared.server
        load_state(server.model, parameters)
        return server.evaluate(server.model)

    def repaired(
        self, steps: Mapping[str, Repair], *, n_clean: int | None = None, seed: int | None = None
    ) -> tuple[Tensor, Reports]:
        """Returns the parameters after ``steps``, and their reports; the run's folder is left alone.

        Args:
            steps: repairs in their order; when they would run does not matter here.
            n_clean: how many of the server's clean examples they get; by default all.
            seed: of their random choices; by default the run's.

        Raises:
            UserError: if a repair needs clean examples and the server has none, or fewer than ``n_clean``.
        """
        repairs = self.prepared.server.repairs
        clean = repairs.context.clean
        if n_clean is not None and n_clean > len(clean):
            raise UserError(f"clean: the run's server has {len(clean)} clean examples, got {n_clean}")
        for name, step in steps.items():
            if step.needs_clean and not clean[:n_clean]:
                raise UserError(f"{name} needs clean data, and the run has server.clean.n_examples = 0")
        once = {name: replace(step, when="end", every=None) for name, step in steps.items()}
        context = replace(repairs.context, clean=clean[:n_clean])
        chosen = replace(repairs, steps=once, context=context, seed=repairs.seed if seed is None else seed)
        return chosen.finally_(self.parameters, self.summary["rounds"])


def reopen(run: Path) -> Reopened:
    """Returns the finished run in the folder ``run``.

    Raises:
        UserError: there is no finished run, or its data have gone.
    """
    tables, summary = read_run(run)
    spec = specs.parse(tables, where=f"{run / 'spec.toml'}: ")
    folder = checkpoint.REPAIRED if "before_repairs" in summary else "checkpoint"
    state = checkpoint.load(run / folder, summary["spec_hash"])
    if state is None:
        raise UserError(f"{run}: its checkpoint folder is empty, so there is no model to open")
    return Reopened(prepare(spec), summary, state.parameters)
