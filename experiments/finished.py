"""A finished run as a detector needs it: its final model, the server's clean examples, and the trigger."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch

from hauberk.attacks import Attack
from hauberk.experiments.export import load_model
from hauberk.experiments.prepare import draw_clean, resolve_device
from hauberk.experiments.spec import Spec
from hauberk.server.detectors import View
from hauberk.tasks.errors import UserError
from hauberk.tasks.examples import Example, Splits
from hauberk.tasks.models.base import TextModel
from hauberk.tasks.seeds import generator


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A finished run, with all that a detector of its inputs works on.

    Attributes:
        splits: the data; what the clients trained on is no longer apart from the server's own.
        clean: the server's own examples.
        attack: bound to the data; None where nobody lied.
    """

    spec: Spec
    view: View
    splits: Splits
    clean: list[Example]
    attack: Attack | None

    @property
    def target(self) -> int | None:
        """The class that the attack evokes, if there is one."""
        poison = self.attack.poison if self.attack else None
        return None if poison is None else poison.target

    def triggered(self) -> list[Example]:
        """Returns the test samples of other classes with the trigger in them, the same as in the run's evaluation."""
        poison = self.attack.poison if self.attack else None
        test = list(self.splits.test)
        return [] if poison is None else poison.trigger(test, generator(self.spec.seed, "trigger"))


def read_finished(run_folder: str | Path) -> Finished:
    """Loads a finished run's final model and draws its data again.

    Raises:
        UserError: there is no such run, or the server had no clean examples.
    """
    spec, summary, model = load_model(Path(run_folder))
    if not spec.server.clean.n_examples:
        raise UserError(
            f"{run_folder}: server.clean.n_examples: a detector needs at least 2 clean examples of the server's own, "
            "this run has 0"
        )
    torch.set_num_threads(spec.server.threads)
    task = spec.build_task()
    splits = task.splits(spec.seed)
    train, clean = draw_clean(splits.train, spec.server.clean.n_examples, spec.seed)
    attack = spec.build_attack() if spec.n_liars else None
    view = View(
        model=cast(TextModel, model),
        encode=task.encode,
        labels=tuple(summary["labels"]),
        precision=spec.training.precision,
        device=resolve_device(spec.device),
    )
    bound = attack.bind(replace(splits, train=tuple(train))) if attack else None
    return Finished(spec=spec, view=view, splits=splits, clean=clean, attack=bound)
