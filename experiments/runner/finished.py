"""A finished run, opened again: its data, its final model and its trigger, for questions that come later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from hauberk.attacks import Attack
from hauberk.experiments.runner.identity import read_identity
from hauberk.experiments.runner.records import read_run
from hauberk.experiments.runner.setup import Prepared, prepare
from hauberk.experiments.spec import loader
from hauberk.experiments.spec.compatibility import modality_problems
from hauberk.experiments.spec.loader import Spec
from hauberk.experiments.spec.names import rule_name
from hauberk.server import checkpoint
from hauberk.server.detectors import View
from hauberk.server.evaluation import NATURAL, Metrics
from hauberk.server.repair_steps import Reports
from hauberk.server.repairs import Repair
from hauberk.server.serving import answer_on, predictor, serving_of
from hauberk.server.state import ServerState
from hauberk.strategies.serving import Served, Serving, serves
from hauberk.strategies.starting import keeps_models_apart
from hauberk.tasks.digest import digest_of
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import load_state
from hauberk.tasks.seeds import generator


@dataclass(frozen=True, eq=False)
class Finished:
    """A finished run.

    Attributes:
        prepared: as it was before the first round; its one model is overwritten by whoever computes with it.
        parameters: of the final model, after the repairs of its spec, [n_params].
        rounds: how many there were.
        natural: the natural rate of its attack; None where there is none.
        remembered: what its rule remembers, which it may answer with.
    """

    prepared: Prepared
    parameters: Tensor
    rounds: int
    natural: float | None = None
    remembered: Any = None

    @property
    def state(self) -> ServerState:
        """The server after the last round."""
        return ServerState(self.rounds, self.parameters, self.remembered)

    @property
    def spec(self) -> Spec:
        """The run's spec."""
        return self.prepared.spec

    @property
    def clean(self) -> tuple[Any, ...]:
        """The server's own examples."""
        return tuple(self.prepared.server.repairs.assets.clean)

    @cached_property
    def view(self) -> View:
        """The final model as a detector sees it: a copy of its own, whatever is computed with the other meanwhile.

        Raises:
            UserError: the rule keeps several models apart.
        """
        self._refuse_models_apart("detectors")
        model: Any = deepcopy(self.prepared.server.model)
        load_state(model, self.parameters)
        return replace(self.prepared.view(), model=model)

    @cached_property
    def serving(self) -> Serving | None:
        """What answers, where the rule defends while it does; None where the model alone does."""
        server = self.prepared.server
        return serving_of(server, self.state) if serves(server.aggregate) else None

    def served(self, examples: Sequence[Any]) -> Served | None:
        """Returns what is answered to ``examples``, of which there are some; None where the model alone answers."""
        server = self.prepared.server
        if self.serving is None:
            return None
        return self.serving(answer_on(server, server.task.encode(examples)))

    def logits(self, examples: Sequence[Any]) -> Tensor:
        """Returns what is answered to ``examples``, of which there are some: what is served, or the model's word."""
        served = self.served(examples)
        return self.view.logits(examples) if served is None else served.logits

    @property
    def target(self) -> int | None:
        """The class that the attack evokes, if there is one."""
        return self.prepared.target

    def triggered(self) -> list[Any]:
        """Returns the test samples of other classes with the trigger in them, the same as in the run's evaluation."""
        attack = self.prepared.server.attack
        if attack is None or attack.poison is None:
            return []
        return attack.poison.trigger(self.prepared.test, generator(self.spec.seed, "trigger"))

    def _refuse_models_apart(self, what: str) -> None:
        rule = self.prepared.server.aggregate
        if keeps_models_apart(rule):
            raise UserError(
                f"{what}: work on one model, and {rule_name(rule)} keeps several apart, which vote"
            )

    def metrics(self, parameters: Tensor) -> Metrics:
        """Returns what is worth on the test split what answers with these ``parameters`` [n_params]."""
        server = self.prepared.server
        answers = predictor(server, replace(self.state, parameters=parameters))
        return {**server.evaluate.of(answers), NATURAL: self.natural}

    def repaired(
        self, steps: Mapping[str, Repair], *, n_clean: int | None = None, seed: int | None = None
    ) -> tuple[Tensor, Reports]:
        """Returns the parameters after ``steps``, and their reports; the run's folder is left alone.

        Args:
            steps: repairs in their order; when they would run does not matter here.
            n_clean: how many of the server's clean examples they get; by default all.
            seed: of their random choices; by default the run's.

        Raises:
            UserError: if a repair needs other data than the task has, or clean examples and the server has none, or
                fewer than ``n_clean``, which must be at least 1, or the rule keeps several models apart.
        """
        self._refuse_models_apart("repairs")
        repairs = self.prepared.server.repairs
        if problems := modality_problems(
            self.prepared.task, {f"repairs.{n}": step for n, step in steps.items()}
        ):
            raise UserError("; ".join(problems))
        if n_clean is not None and n_clean < 1:
            raise UserError(f"clean: must be at least 1, got {n_clean}")
        if n_clean is not None and n_clean > len(self.clean):
            raise UserError(
                f"clean: must be at most server.clean.n_examples = {len(self.clean)} of this run, got {n_clean}"
            )
        clean = self.clean[:n_clean]
        for name, step in steps.items():
            if step.needs_clean and not clean:
                raise UserError(f"{name} needs clean examples, and this run has server.clean.n_examples = 0")
        once = {name: replace(step, when="end", every=None) for name, step in steps.items()}
        chosen = replace(repairs, steps=once, assets=replace(repairs.assets, clean=clean))
        chosen = chosen if seed is None else replace(chosen, seed=seed)
        return chosen.after_training(self.parameters, self.rounds)


def read_finished(run: str | Path, *, attack: Attack | None = None) -> Finished:
    """Returns the finished run in the folder ``run``.

    Args:
        run: the folder.
        attack: what was given to the run in Python, where that was an attack: the records cannot hold it.

    Raises:
        UserError: there is no finished run, its data have gone or changed, or its attack is not given.
    """
    run = Path(run)
    spec, summary, state = read_state(run)
    given = summary.get("given_in_python", {}).get("attack")
    if given and attack is None:
        raise UserError(
            f"{run}: its attack was given in Python, {given}: read_finished(run, attack=...) takes it"
        )
    splits = spec.parts.task.splits(spec.seed)
    recorded, now = read_identity(run), {"data": digest_of(splits)}
    if other := checkpoint.differences(recorded, now):
        raise UserError(f"{run}: its data have changed since: {other}")
    prepared = prepare(spec, attack=attack, splits=splits)
    natural = summary["final"].get(NATURAL)
    return Finished(prepared, state.parameters, summary["rounds"], natural, state.aggregator)


def read_parameters(run: Path) -> tuple[Spec, dict[str, Any], Tensor]:
    """Returns a finished run's spec, its summary, and the parameters of its final model, [n_params]."""
    spec, summary, state = read_state(run)
    return spec, summary, state.parameters


def read_state(run: Path) -> tuple[Spec, dict[str, Any], ServerState]:
    """Returns a finished run's spec, its summary, and the server after its last round and its repairs."""
    tables, summary = read_run(run)
    spec = loader.parse(tables, where=f"{run / 'spec.toml'}: ")
    folder = checkpoint.REPAIRED if "before_repairs" in summary else "checkpoint"
    state = checkpoint.load(run / folder, read_identity(run))
    if state is None:
        raise UserError(f"{run}: its checkpoint folder is empty, so there is no model to take out")
    return spec, summary, state
