"""Dim-Krum's five selections on real updates: where each ranks the liar, and how many clean clients it drops.

    python benchmarks/selections.py SPEC --attacks bad_word bad_sentence alie --seeds 0 1 2 --out runs/selections

One run per attack and seed is enough: all five score the same rows as they arrive, each with a memory of its own, and
the first of them decides what the model becomes. Prints, for each selection and over all rounds and seeds, the mean
rank of the liar (1 is most trusted, n least), the share of rounds in which it was kept, and the mean number of clean
clients among those dropped (of n - floor(n/2) - 1, so that it can not fall below that minus the liars).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from torch import Tensor

from hauberk.experiments import run
from hauberk.experiments.runner.records import read_rounds
from hauberk.experiments.spec.loader import load
from hauberk.strategies import Aggregation, AggregationContext, DimKrum, Rule

SELECTIONS = ("pairwise", "global", "z", "per_tensor", "full")
FORGED = {"alie", "ipm", "min_max", "min_sum"}


@dataclass(frozen=True, kw_only=True)
class FiveSelections(Rule):
    """Aggregates by the first selection and reports what all five would have done.

    Args:
        n_malicious: what every one of them assumes.
        liars: the client ids that lie, for the report alone.
    """

    n_malicious: int
    liars: tuple[int, ...]

    def check(self, n_clients: int) -> None:
        """Raises TooFewClientsError where Dim-Krum would."""
        DimKrum(n_malicious=self.n_malicious).check(n_clients)

    def __call__(
        self, updates: Tensor, *, context: AggregationContext | None = None, state: Any = None
    ) -> Aggregation:
        """Aggregates ``updates`` of shape [n_clients, n_params]; ``state`` holds each selection's own."""
        context, states, report, results = context or AggregationContext(), dict(state or {}), {}, {}
        liars = [row for row, client in enumerate(context.ids(len(updates))) if client in self.liars]
        for name in SELECTIONS:
            rule = DimKrum(n_malicious=self.n_malicious, selection=name)
            results[name] = rule(updates, context=context, state=states.get(name))
            states[name] = results[name].state
            report |= self._judge(name, results[name], context.ids(len(updates)), liars)
        return Aggregation(results[SELECTIONS[0]].update, results[SELECTIONS[0]].weight, states, report)

    def _judge(
        self, name: str, result: Aggregation, ids: Sequence[int], liars: Sequence[int]
    ) -> dict[str, float]:
        memory = [result.state["memory"][str(client)] for client in ids]  # type: ignore[index]
        ranks = [1 + sum(other < memory[liar] for other in memory) for liar in liars]
        dropped = (result.weight == 0).nonzero().flatten().tolist()  # type: ignore[union-attr]
        return {
            f"{name}/rank": statistics.mean(ranks),
            f"{name}/kept": statistics.mean(float(liar not in dropped) for liar in liars),
            f"{name}/clean_dropped": float(len(set(dropped) - set(liars))),
        }


def changes_for(attack: str) -> list[str]:
    """Returns the changes to a spec that name an attack: a poison, or a forge on top of the spec's own poison."""
    return [f"attack.forge={attack}"] if attack in FORGED else [f"attack.poison.name={attack}"]


def reports(given: argparse.Namespace, attack: str, seed: int) -> list[dict[str, float]]:
    """Returns the report of each round of one run."""
    spec = load(given.spec, [*given.set, *changes_for(attack), f"seed={seed}", "engine.name=inline"])
    rule = FiveSelections(n_malicious=1, liars=tuple(range(spec.federation.n_malicious)))
    folder = given.out / f"{spec.name}-{attack}-{seed}-{spec.hash[:8]}"
    run(spec, aggregator=rule, out=folder, resume=(folder / "checkpoint").exists())
    return [line["report"] for line in read_rounds(folder)]


def main() -> None:
    """Runs what is missing and prints the table of each attack as soon as it is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spec", type=Path)
    parser.add_argument("--attacks", nargs="+", default=["bad_word", "bad_sentence", "alie"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="key=value")
    parser.add_argument("--out", type=Path, default=Path("runs/selections"))
    given = parser.parse_args()
    print("| attack | selection | rank of the liar | kept | clean dropped |\n|---|---|---|---|---|")
    for attack in given.attacks:
        lines = [line for seed in given.seeds for line in reports(given, attack, seed)]
        for name in SELECTIONS:
            means = [
                statistics.mean(line[f"{name}/{what}"] for line in lines)
                for what in ("rank", "kept", "clean_dropped")
            ]
            print(f"| {attack} | {name} | {means[0]:.1f} | {means[1]:.2f} | {means[2]:.1f} |", flush=True)
        (given.out / f"{attack}.json").write_text(json.dumps(lines))


if __name__ == "__main__":
    main()
