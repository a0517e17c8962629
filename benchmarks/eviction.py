"""Who is evicted on what traffic, and what the model without these clients is worth alone.

    python benchmarks/eviction.py runs/robustness/cells/* --n-texts 1000 --shares 0 .05 .2

Takes the finished runs of `ledger` among the folders. The traffic is drawn from the validation split, so many texts of
which a share carries the trigger; figures are of the test split. Eviction is that of `hauberk evict`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from hauberk.experiments.runner.finished import Finished, read_finished
from hauberk.experiments.runner.records import SUMMARY
from hauberk.strategies.serving import EvictingServing
from hauberk.tasks.seeds import generator


def traffic(run: Finished, n_texts: int, share: float) -> list[Any]:
    """Returns validation texts, drawn with replacement, the first ``share`` of them with the trigger in."""
    rng = generator(run.spec.seed, "traffic")
    held = run.prepared.data.splits.validation
    attack = run.prepared.server.attack
    lying = attack.poison.trigger(held, rng) if attack is not None and attack.poison is not None else []
    n_triggered = round(share * n_texts) if lying else 0
    rows = torch.randint(len(held), (n_texts - n_triggered,), generator=rng).tolist()
    bad = torch.randint(max(len(lying), 1), (n_triggered,), generator=rng).tolist()
    return [lying[row] for row in bad] + [held[row] for row in rows]


def evicted(run: Finished, examples: list[Any], significance: float) -> list[int]:
    """Returns the vectors that such traffic evicts."""
    serving, served = run.serving, run.served(examples)
    assert isinstance(serving, EvictingServing)
    assert served is not None
    chances = serving.unusual(served.left_out)
    order = [
        one for one in chances.argsort(stable=True).tolist() if chances[one] < significance / len(chances)
    ]
    return order[: serving.most]


def figures(run: Finished, vectors: list[int]) -> dict[str, float | None]:
    """Returns accuracy and attack success of the model without ``vectors``, which answers alone."""
    serving, server = run.serving, run.prepared.server
    assert isinstance(serving, EvictingServing)
    from hauberk.server.serving import model_alone

    return dict(server.evaluate.of(model_alone(server, serving.evicted(vectors))))


def main() -> None:
    """Prints one line for each run and share."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--n-texts", type=int, default=1000)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.05, 0.2])
    parser.add_argument("--significance", type=float, default=1e-3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| seed | partition | attack | natural | served | triggered traffic | evicted | then | accuracy, then |"
    )
    print("|---" * 9 + "|")
    for folder in given.runs:
        if not (folder / SUMMARY).exists():
            continue
        summary = json.loads((folder / SUMMARY).read_text())
        if "undefended" in summary.get("serving", {}) and "worst_success" not in summary["serving"]:
            run = read_finished(folder)
            if isinstance(run.serving, EvictingServing):
                report(run, summary, given)


def report(run: Finished, summary: dict[str, Any], given: argparse.Namespace) -> None:
    """Prints a run's lines."""
    found: dict[tuple[int, ...], dict[str, float | None]] = {}
    final = summary["final"]
    name = next(iter(run.spec.to_dict()["federation"].get("partition", {"name": "iid"}).values()))
    for share in given.shares if summary["attack"] else [0.0]:
        who = evicted(run, traffic(run, given.n_texts, share), given.significance)
        key = tuple(who)
        found.setdefault(key, figures(run, who))
        clients = " ".join(str(client) for one in who for client in run.serving.clients[one]) or "nobody"  # type: ignore[union-attr]
        natural, served = final.get("attack_success_natural"), final.get("attack_success_rate")
        cells = [run.spec.seed, name, summary["attack"], natural, served, share, clients]
        cells += [found[key].get("attack_success_rate"), found[key]["accuracy"]]
        print(
            "| "
            + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells)
            + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
