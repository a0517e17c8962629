"""From a spec to everything a run needs: data, partitions, the server and what each worker is made from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from hauberk.attacks import Attack
from hauberk.clients.worker import Worker, WorkerConfig
from hauberk.experiments.runner import preflight
from hauberk.experiments.runner.data import Data, data_of
from hauberk.experiments.spec.compatibility import (
    attack_parts,
    modality_problems,
    models_apart_problems,
    rule_problems,
)
from hauberk.experiments.spec.loader import Spec
from hauberk.server.assets import ServerAssets, Spread
from hauberk.server.detection.fitting import check_detector
from hauberk.server.detectors import View
from hauberk.server.evaluation import Evaluation, prepare_evaluation
from hauberk.server.repair_steps import Repairs
from hauberk.server.server import Server
from hauberk.server.state import ServerState
from hauberk.strategies.guard import Guard
from hauberk.strategies.update_matrix import layout_of
from hauberk.tasks.base import Task
from hauberk.tasks.device import resolve_device
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, state_of
from hauberk.tasks.partition import partition
from hauberk.tasks.seeds import generator


@dataclass(frozen=True)
class Prepared:
    """A run before its first round.

    Attributes:
        start: the state before the first round.
        labels: the names of the classes; none where the task has no classes.
        test: the test split.
        worker: what each process's `Worker` is made from.
        data: what other runs of the same task and seed can share.
        warnings: what the user should know before the run starts.
    """

    spec: Spec
    server: Server
    start: ServerState
    labels: tuple[str, ...]
    test: tuple[Any, ...]
    worker: WorkerConfig
    data: Data
    warnings: list[str] = field(default_factory=list)

    @property
    def target(self) -> int | None:
        """The class that the attack evokes, if there is one."""
        attack = self.server.attack
        return None if attack is None else getattr(attack.poison, "target", None)

    @property
    def task(self) -> Task:
        """What is learned."""
        return self.server.task

    def view(self) -> View:
        """Returns the server's model, in whatever state it is, as a detector sees it.

        Raises:
            UserError: the task is none of texts.
        """
        if self.task.modality != "text":
            raise UserError(
                f"detectors: need a task of text, and {type(self.task).__name__} has {self.task.modality}"
            )
        server = self.server
        model: Any = server.model  # a TextModel, which every detector needs
        return View(
            model=model,
            encode=server.repairs.assets.encode,
            labels=self.labels,
            special_ids=server.repairs.assets.tokenizer.special_ids,
            precision=server.training.precision,
            device=server.repairs.assets.device,
        )

    def check(self) -> None:
        """Refuses now, and not after hours of training, what would fail on the final model.

        For the server alone: no other machine need have the files that repairs and detectors name.

        Raises:
            UserError: a repair or a detector of the spec cannot do its work.
        """
        assets = self.server.repairs.assets
        for repair in self.server.repairs.steps.values():
            repair.check(assets)
        for detector in self.spec.parts.detectors.values():
            check_detector(detector, self.view(), assets.clean, self.target, self.spec.seed)

    def spread_by(self, spread: Spread) -> Prepared:
        """Returns the same, with ``spread`` to have the pieces of the server's work done."""
        repairs = self.server.repairs
        repairs = replace(repairs, assets=replace(repairs.assets, spread=spread))
        return replace(self, server=replace(self.server, repairs=repairs))

    def make_worker(self) -> Worker:
        """Returns the worker of this process."""
        return Worker(self.worker)


def prepare(
    spec: Spec,
    *,
    aggregator: Any = None,
    attack: Attack | None = None,
    splits: Any = None,
    data: Data | None = None,
) -> Prepared:
    """Loads the data and builds the model of ``spec``.

    Args:
        spec: the experiment.
        aggregator: replaces the rule that it names.
        attack: likewise.
        splits: its data set, where it is loaded already.
        data: its data, where other runs have the same.

    Raises:
        UserError: what the data show to be impossible: a missing file, a class that does not exist, an empty client.
    """
    torch.set_num_threads(spec.server.threads)
    _refuse_what_does_not_fit(spec, aggregator, attack)
    parts, device = spec.parts, resolve_device(spec.device)
    wanted = attack or parts.attack
    attack = wanted if spec.federation.n_malicious else None
    data = data or data_of(spec, splits)
    splits, task = data.splits, data.bound
    train, clean = data.drawn
    # Bound to the clients' texts alone: no attacker holds what the server keeps for itself.
    attack = attack.bind(replace(splits, train=tuple(train))) if attack else None
    worker = _worker(spec, data, attack, device)
    model = task.build(spec.seed).to(device)
    lines = preflight.of_attack(spec, attack, splits, task, model)
    if wanted and not attack:
        lines.append("there is an attack, but federation.n_malicious = 0: nobody lies")
    start = ServerState(0, flatten(state_of(model)).cpu())
    assets = ServerAssets(
        task=task, model=model, layout=layout_of(state_of(model)), reference=start.parameters,
        clean=tuple(clean), training=parts.training, rng=generator(spec.seed, "repairs"), device=device,
    )  # fmt: skip
    precision = parts.training.precision
    evaluate = prepare_evaluation(task, splits.test, attack, spec.seed, precision, device, data.test)
    server = _server(spec, assets, evaluate, aggregator or parts.aggregator, attack)
    lines += [
        *preflight.of_rule(server),
        *preflight.of_schedule(server, spec.federation.rounds),
        *evaluate.warnings(),
    ]
    return Prepared(spec, server, start, splits.labels, tuple(splits.test), worker, data, lines)


def _refuse_what_does_not_fit(spec: Spec, aggregator: Any, attack: Attack | None) -> None:
    """Refuses objects that stand in for a spec's, as the spec's own reader would."""
    problems = modality_problems(spec.parts.task, attack_parts(attack))
    if aggregator is not None:
        problems += rule_problems(aggregator, spec.parts.task, spec.federation, spec.server)
        problems += models_apart_problems(aggregator, spec.federation, spec.repairs, spec.detectors)
    if problems:
        raise UserError("; ".join(problems))


def _worker(spec: Spec, data: Data, attack: Attack | None, device: str) -> WorkerConfig:
    """Deals the clients' examples out, where they are here."""
    n_clients = spec.federation.n_clients
    if data.federated:
        dealt = [np.arange(0)] * n_clients
    else:
        keys = data.bound.partition_keys(data.train)
        dealt = partition(keys, n_clients, spec.parts.partition, spec.seed)
    return WorkerConfig(
        task=data.bound, seed=spec.seed, examples=data.drawn[0], encoded=data.train,
        partitions=dealt,
        attack=attack, n_malicious=spec.federation.n_malicious if attack else 0,
        threads=spec.engine.threads_per_client, device=device,
    )  # fmt: skip


def _server(
    spec: Spec, assets: ServerAssets, evaluate: Evaluation, aggregator: Any, attack: Attack | None
) -> Server:
    """Puts the server together, its repairs and its guard included."""
    return Server(
        task=assets.task,
        aggregate=aggregator,
        training=assets.training,
        evaluate=evaluate,
        model=assets.model,
        layout=assets.layout,
        seed=spec.seed,
        n_clients=spec.federation.n_clients,
        cohort_size=spec.federation.cohort_size,
        attack=attack,
        n_malicious=spec.federation.n_malicious if attack else 0,
        clean=assets.task.encode(assets.clean) if assets.clean else None,
        repairs=Repairs(assets=assets, seed=spec.seed, steps=spec.parts.repairs),
        keep_rounds=frozenset(spec.server.keep_updates),
        forensics_every=spec.server.forensics.interval(spec.federation.cohort_size),
        evaluate_every=spec.server.evaluate_every,
        guard=Guard(**spec.server.guard.model_dump()),
    )
