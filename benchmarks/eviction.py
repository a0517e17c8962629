"""Who is evicted on what traffic, and what the model without these clients is worth alone.

    python benchmarks/eviction.py runs/robustness/cells/* --n-texts 800 --shares 0 .05 .2

Takes the finished runs of `ledger` among the folders. The traffic is drawn from the validation split, so many texts of
which a share carries the trigger; figures are of the test split, as served where nobody is evicted. Eviction is that of `hauberk evict`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from hauberk.experiments.analysis.evict import load_evicted, too_often
from hauberk.experiments.runner.finished import Finished, read_finished
from hauberk.experiments.runner.records import SUMMARY
from hauberk.strategies.serving import EvictingServing
from hauberk.tasks.seeds import generator

HEADINGS = (
    "seed",
    "partition",
    "attack",
    "natural",
    "served",
    "triggered traffic",
    "evicted",
    "then",
    "accuracy",
)


def traffic(run: Finished, n_texts: int, share: float) -> list[Any]:
    """Returns different validation texts, of which ``share`` have the trigger in them."""
    rng, attack = generator(run.spec.seed, "traffic"), run.prepared.server.attack
    held = run.prepared.data.splits.validation
    lying = attack.poison.trigger(held, rng) if attack is not None and attack.poison is not None else []
    n_lying = round(share * n_texts)
    return _drawn(lying, n_lying, rng) + _drawn(held, n_texts - n_lying, rng)


def _drawn(examples: Any, n: int, rng: torch.Generator) -> list[Any]:
    if n > len(examples):
        raise SystemExit(f"--n-texts: {n} texts are to be drawn of {len(examples)}")
    return [examples[row] for row in torch.randperm(len(examples), generator=rng)[:n].tolist()]


def report(run: Finished, summary: dict[str, Any], given: argparse.Namespace) -> None:
    """Prints a run's lines."""
    serving, server = run.serving, run.prepared.server
    assert isinstance(serving, EvictingServing)
    final, partition = summary["final"], run.spec.federation.partition["name"]
    for share in [0.0] if final.get("attack_success_rate") is None else given.shares:
        served = run.served(traffic(run, given.n_texts, share))
        assert served is not None
        who = too_often(serving, served.left_out, given.significance)
        if who:
            load_evicted(server.model, serving, who)
        then = server.evaluate(server.model) if who else final
        clients = " ".join(str(client) for one in who for client in serving.clients[one])
        figures = [final.get("attack_success_natural"), final.get("attack_success_rate"), share]
        after = [then.get("attack_success_rate"), then["accuracy"]]
        print(_line([run.spec.seed, partition, summary["attack"], *figures, clients or "nobody", *after]))


def _line(cells: list[Any]) -> str:
    shown = (
        f"{cell:.3f}" if isinstance(cell, float) else str("" if cell is None else cell) for cell in cells
    )
    return "| " + " | ".join(shown) + " |"


def main() -> None:
    """Prints one line for each run and share."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--n-texts", type=int, default=800)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.05, 0.2])
    parser.add_argument("--significance", type=float, default=1e-3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(_line(list(HEADINGS)) + "\n" + "|---" * len(HEADINGS) + "|")
    for folder in given.runs:
        summary = json.loads((folder / SUMMARY).read_text()) if (folder / SUMMARY).exists() else {}
        if summary.get("aggregator") == "ledger":
            report(read_finished(folder), summary, given)


if __name__ == "__main__":
    main()
