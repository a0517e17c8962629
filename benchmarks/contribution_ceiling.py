"""How much a liar could have that stands exactly at its threshold of `ledger`, on every text.

    python benchmarks/contribution_ceiling.py runs/robustness/cells/*

Takes the finished runs of `ledger` among the folders. Each client of a run without an attack is the liar in turn, and
the attacker in one with; its contributions to clean texts, and those of all others to any text, are what they are, and
what it moves a triggered test text is as much as the rule lets pass: the larger of the two c_l at which the residual
and what goes beyond the median client reach its threshold (see `strategies/kernels/contributions.py`). The text counts
where the model then answers the target. No attacker of this project gets there: it would have to hit its limit on texts
that it has never seen. Prints the success above that of the run without attack as served, in points.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from _twins import label
from torch import Tensor

from hauberk.attacks.poisons import POISONS
from hauberk.experiments.report.statistics import t_estimate
from hauberk.experiments.runner.finished import Finished, read_finished
from hauberk.experiments.runner.records import SUMMARY, read_run
from hauberk.server.serving import answer_on
from hauberk.strategies.aggregators._ledger_serving import LedgerServing, contributions
from hauberk.strategies.kernels.contributions import margins, most_contributed
from hauberk.tasks.seeds import generator

TRIGGERS = ("bad_word", "bad_sentence")
TARGET = 1


def bound(serving: LedgerServing, found: Tensor, liar: int) -> Tensor:
    """Returns the largest c_l that passes on each input, [n_inputs], of ``found`` [n_clients, n_inputs]."""
    usual, precision = serving.usual[:, TARGET], serving.precision[TARGET]
    return most_contributed(found, usual, precision, liar, float(serving.thresholds[liar, TARGET]))


def ceilings(run: Finished, trigger: str, liars: list[int]) -> tuple[float, list[float]]:
    """Returns the success as served, and for each liar what it could be."""
    poison: Any = POISONS[trigger](target=TARGET)  # type: ignore[call-arg]
    texts = poison.trigger(run.prepared.test, generator(run.spec.seed, "trigger"))
    server, serving = run.prepared.server, run.serving
    assert isinstance(serving, LedgerServing)
    answer = answer_on(server, server.task.encode(texts))
    logits = answer(serving.parameters, None).clone()
    found = contributions(serving.parameters, serving.vectors, logits, answer)
    without = margins(logits)[None] - found  # the margins of the model without each client's part
    could = [
        (without[liar, :, TARGET] + bound(serving, found[:, :, TARGET], liar) > 0).double().mean()
        for liar in liars
    ]
    return float(poison.success(serving(answer).logits)), [float(one) for one in could]


def natural_key(tables: Mapping[str, Any]) -> tuple[str, str]:
    """Returns what a run has in common with its twin in one grid."""
    return str(tables["federation"]["partition"]), str(tables["seed"])


def main() -> None:
    """Prints a line for each run and trigger, and the means over seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    given = parser.parse_args()
    torch.set_num_threads(1)
    read = {one: read_run(one)[0] for one in given.runs if (one / SUMMARY).exists()}
    natural: dict[tuple[Any, ...], float] = {}
    gained: dict[tuple[str, str], list[float]] = defaultdict(list)
    for folder, tables in sorted(read.items(), key=lambda one: "attack" in one[1]):
        run = read_finished(folder)
        attack = tables.get("attack")
        liars = [0] if attack else list(range(len(run.serving.clients)))  # type: ignore[union-attr]
        for trigger in [attack["poison"]["name"]] if attack else TRIGGERS:
            served, could = ceilings(run, trigger, liars)
            key = (*natural_key(tables), trigger)
            natural.setdefault(key, served)
            above = [100 * (one - natural[key]) for one in could]
            name = label(tables) if attack else f"{tables['federation']['partition']['name']} any client"
            gained[name, trigger].append(sum(above) / len(above))
            print(
                f"{name} | seed {tables['seed']} | {trigger} | served {100 * served:.1f} | at its thresholds "
                f"{gained[name, trigger][-1]:.1f}, at most {max(above):.1f} above natural",
                flush=True,
            )
    for (name, trigger), values in gained.items():
        mean = t_estimate(values)
        print(f"{name} | {trigger}: {mean.mean:.1f} ± {mean.half_width:.1f}, {mean.n} seeds")


if __name__ == "__main__":
    main()
