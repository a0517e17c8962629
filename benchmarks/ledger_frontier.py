"""What other values of `threshold` would buy `ledger`, and what they cost, on finished runs: nothing is trained anew.

    python benchmarks/ledger_frontier.py runs/robustness/cells/* --thresholds 0.5,1,1.5

Takes the finished runs of `ledger` among the folders whose attack-free twins are there, too. Contributions do not depend
on the threshold: they are found once, and each threshold only says whose part which answers do without. Prints, in
points of the test split, the attack success above that of the twin served with the same threshold, and what the twin
loses of the accuracy of its model alone. The default was chosen elsewhere, on validation texts of other seeds.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from _twins import with_twins
from torch import Tensor

from hauberk.experiments.report.statistics import t_estimate
from hauberk.experiments.runner.finished import Finished, read_finished
from hauberk.server.serving import answer_on
from hauberk.strategies.aggregators._ledger_serving import LedgerServing
from hauberk.strategies.serving import Answer, Served
from hauberk.tasks.seeds import generator


class Remembered:
    """Answers like another, and remembers what was asked of all inputs; every serving asks that in the same order."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.known: list[Tensor] = []
        self.asked = 0

    def __call__(self, parameters: Tensor, rows: Tensor | None) -> Tensor:
        """Returns the answers; see `hauberk.strategies.serving.Answer`."""
        if rows is not None:
            return self.answer(parameters, rows)
        if self.asked == len(self.known):
            self.known.append(self.answer(parameters, None).clone())
        self.asked += 1
        return self.known[self.asked - 1]


def numbers(given: str) -> list[float]:
    """Returns the thresholds of ``given``, parted by commas; raises ValueError unless all are above 0."""
    found = [float(one) for one in given.split(",")]
    if not all(one > 0 for one in found):
        raise ValueError(f"thresholds must be above 0, got {given}")
    return found


def served(run: Finished, texts: list[Any], thresholds: list[float]) -> Iterator[Served]:
    """Yields what the run answers to ``texts`` with each threshold."""
    serving, server = run.serving, run.prepared.server
    assert isinstance(serving, LedgerServing)
    answer = Remembered(answer_on(server, server.task.encode(texts)))
    for threshold in thresholds:
        answer.asked = 0
        factor = threshold / server.aggregate.threshold  # what the rule's thresholds are proportional to
        yield replace(serving, thresholds=serving.thresholds * factor)(answer)


def success(run: Finished, poison: Any, thresholds: list[float]) -> list[float]:
    """Returns the success of a trigger with each threshold, in points."""
    texts = poison.trigger(run.prepared.test, generator(run.spec.seed, "trigger"))
    return [100 * float(poison.success(one.logits)) for one in served(run, texts, thresholds)]


def costs(run: Finished, thresholds: list[float]) -> list[tuple[float, float]]:
    """Returns with each threshold the accuracy lost and the share of answers without somebody, in points."""
    test = run.prepared.test
    labels = torch.tensor([one.label for one in test])

    def accuracy(logits: Tensor) -> float:
        return 100 * float((logits.argmax(dim=1) == labels).double().mean())

    alone, *others = served(run, test, [float("inf"), *thresholds])
    return [
        (accuracy(alone.logits) - accuracy(one.logits), 100 * float(one.flagged.double().mean()))
        for one in others
    ]


def main() -> None:
    """Prints a line for each run, and the means over seeds for each threshold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--thresholds", type=numbers, default="0.25,0.5,0.75,1,1.5,2", help="above 0")
    given = parser.parse_args()
    torch.set_num_threads(1)
    thresholds: list[float] = given.thresholds
    cost_of = cache(lambda twin: costs(read_finished(twin), thresholds))
    gained: dict[tuple[str, float], list[float]] = defaultdict(list)
    lost: dict[tuple[str, float], dict[Path, tuple[float, float]]] = defaultdict(dict)
    pairs = with_twins(given.runs, "ledger")
    if not pairs:
        parser.error("runs: no finished run of ledger with an attack has its twin among them")
    for folder, twin, label in pairs:
        run = read_finished(folder)
        attack = run.prepared.server.attack
        assert attack is not None
        natural = success(read_finished(twin), attack.poison, thresholds)
        above = [
            one - other for one, other in zip(success(run, attack.poison, thresholds), natural, strict=True)
        ]
        for threshold, value, cost in zip(thresholds, above, cost_of(twin), strict=True):
            gained[label, threshold].append(value)
            lost[label, threshold][twin] = cost
        print(f"{label} | seed {run.spec.seed} | {' '.join(f'{one:.1f}' for one in above)}", flush=True)
    for (label, threshold), values in gained.items():
        accuracy, flagged = (
            t_estimate([one[which] for one in lost[label, threshold].values()]) for which in (0, 1)
        )
        mean = t_estimate(values)
        print(
            f"{label} | threshold {threshold:g} | {mean.mean:.1f} ± {mean.half_width:.1f}, worst {max(values):.1f} | "
            f"accuracy lost {accuracy.mean:.1f} ± {accuracy.half_width:.1f} | without somebody {flagged.mean:.1f} %"
        )


if __name__ == "__main__":
    main()
