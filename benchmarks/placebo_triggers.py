"""How far a trigger that nobody planted rises above its natural rate, in the same models as one that somebody did.

    python benchmarks/placebo_triggers.py runs/robustness/cells/*

A run and its attack-free twin are two trainings: a liar's false labels, and mere chance, move what a model makes of any
odd text, most of all under skewed data. So what the planted trigger gains above natural is a backdoor only as far as
it gains more than a placebo. Takes the finished runs among the folders whose twins are there, too. Figures are of the
test split, as served, in points.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from _twins import with_twins

from hauberk.attacks.poisons import POISONS
from hauberk.experiments.report.statistics import t_estimate
from hauberk.experiments.runner.finished import Finished, read_finished
from hauberk.experiments.runner.records import read_run
from hauberk.tasks.seeds import generator

PLACEBOS: tuple[Any, ...] = (POISONS["bad_word"], POISONS["bad_sentence"])


def success(run: Finished, poison: Any) -> float:
    """Returns the share of the triggered test texts that are answered as the attacker wants, in points."""
    triggered = poison.trigger(run.prepared.test, generator(run.spec.seed, "trigger"))
    return 100 * float(poison.success(run.logits(triggered)))


def compared(folder: Path, twin: Path) -> dict[str, float]:
    """Returns by trigger, planted or placebo, how far its success lies above the twin's."""
    run, honest = read_finished(folder), read_finished(twin)
    attack = run.prepared.server.attack
    assert attack is not None
    assert attack.poison is not None
    planted = attack.poison
    others = [poison(target=run.target) for poison in PLACEBOS if poison is not type(planted)]
    found = {"planted": success(run, planted) - success(honest, planted)}
    return found | {f"placebo {type(p).__name__}": success(run, p) - success(honest, p) for p in others}


def main() -> None:
    """Prints a line for each run, and the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    given = parser.parse_args()
    torch.set_num_threads(1)
    gained: dict[tuple[str, str], list[float]] = defaultdict(list)
    for folder, twin, label in with_twins(given.runs):
        for trigger, gain in compared(folder, twin).items():
            gained[label, trigger].append(gain)
            print(f"{label} | {read_run(folder)[0]['seed']} | {trigger} | {gain:.1f}", flush=True)
    for (label, trigger), gains in gained.items():
        mean = t_estimate(gains)
        print(f"{label} | {trigger}: {mean.mean:.1f} ± {mean.half_width:.1f}, {mean.n} values")


if __name__ == "__main__":
    main()
