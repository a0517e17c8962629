"""An attacker that knows its rule: it rehearses on its own texts, and plays what did best there.

    python benchmarks/optimised_attacker.py --rule ledger --out DIR --budget 12 --seeds 0,1,2

Run it in the folder that holds sst2/. The liar owns a tenth of the training texts and knows the rule with its settings.
It keeps a fifth of its texts to measure on and imagines a federation like the real one, whose clients draw theirs from
the rest with replacement. There it tries the two liars of the grid that hide by their length, and then ways to attack
drawn at random: which trigger and of how many words, which part of its texts carries it, how far from the honest update
to the poisoned one it goes, or within which ball around the model it stays, by which factor it sends. The way with the
highest success above natural in rehearsal is then played in the federation, once with each seed. It is chosen once, on
the texts that client 0 holds under seed 0; neither the validation nor the test split decides anything. A run that is
finished is not played again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from hauberk.experiments import run
from hauberk.experiments.bench.grid_file import read_grid
from hauberk.experiments.report.statistics import t_estimate
from hauberk.experiments.runner.data import SharedData
from hauberk.experiments.runner.records import SUMMARY, read_summary
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import parse
from hauberk.tasks.digest import digest_of
from hauberk.tasks.seeds import generator

RATES = (0.1, 0.2, 0.3, 0.5, 0.8)
SCALES = (0.7, 0.85, 0.97, 1.0, 1.15, 1.5)
SHARES = (0.3, 0.5, 0.7, 1.0)  # of the way to the poisoned update; 1 goes it all, and trains once
RADII = (0.5, 1.0, 2.0, None)  # of the ball; None stays in none
WORDS = ("cf", "mn", "bb", "tq", "mb")
KNOWN = tuple(  # word and sentence x .97
    {"poison": {"name": name, "target": 1, "rate": 0.3, "mode": "replace"}, "scale": 0.97}
    for name in ("bad_word", "bad_sentence")
)
HELD = 0.2  # of its texts the liar measures on


def drawn_attack(rng: torch.Generator) -> dict[str, Any]:
    """Returns one way to attack, as a spec's table."""

    def one_of(choices: Any) -> Any:
        return choices[int(torch.randint(len(choices), (1,), generator=rng))]

    how = {"target": 1, "rate": one_of(RATES), "mode": "replace"}
    n_words = one_of(range(len(WORDS) + 1))
    poison = {"name": "bad_word", "words": list(WORDS[:n_words])} if n_words else {"name": "bad_sentence"}
    share, scale = one_of(SHARES), one_of(SCALES)
    way = {"poison": poison | how, "scale": scale}
    if share < 1:
        return {**way, "tamper": {"name": "mixture", "share": share}}
    radius = one_of(RADII)
    return {**way, "tamper": {"name": "projected", "eps": radius}} if radius else way


def real_spec(given: argparse.Namespace, attack: dict[str, Any], seed: int) -> dict[str, Any]:
    """Returns the federation of the grid `robustness` under this attack."""
    only = [f"aggregator={given.rule}", "attack=none", "federation.partition=iid", f"seed={seed}"]
    (cell,) = read_grid("robustness", only=only).cells()
    return {**cell.tables, "attack": attack, "engine": {"name": "inline"}}


def imagined(given: argparse.Namespace, folder: Path) -> dict[str, str]:
    """Writes the texts of the imagined federation, drawn from client 0's own, and returns them as a data set."""
    prepared = prepare(parse(real_spec(given, {"poison": {"name": "bad_word", "target": 1}}, 0)))
    pool = prepared.data.drawn[0]
    own = [pool[row] for row in prepared.worker.partitions[0]]
    rng = generator(0, "imagined")
    own = [own[row] for row in torch.randperm(len(own), generator=rng).tolist()]
    n_held = round(HELD * len(own))
    draws = torch.randint(n_held, len(own), (len(pool),), generator=rng).tolist()
    parts = {"train": [own[row] for row in draws], "test": own[:n_held]}
    folder.mkdir(parents=True, exist_ok=True)
    for name, examples in parts.items():
        lines = (json.dumps({"text": one.text, "label": one.label}) + "\n" for one in examples)
        (folder / f"{name}.jsonl").write_text("".join(lines))
    return {"name": "files", **{name: str(folder / f"{name}.jsonl") for name in parts}}


def played(tables: dict[str, Any], out: Path, shared: SharedData) -> dict[str, Any]:
    """Returns the final figures of a run, played now where it is not finished."""
    folder = out / digest_of(tables)[:16]
    if not (folder / SUMMARY).exists():
        run(tables, out=folder, resume=folder.exists(), shared=shared)
    return read_summary(folder / SUMMARY)["final"]


def above(final: dict[str, Any]) -> float:
    """Returns the attack success above natural."""
    return final["attack_success_rate"] - final["attack_success_natural"]


def main() -> None:
    """Rehearses, then plays the best."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rule", default="ledger", help="a rule of the grid robustness")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--budget",
        type=int,
        default=12,
        help="ways to attack that are drawn and rehearsed beside the known two",
    )
    parser.add_argument("--seeds", default="0,1,2", help="of the federations that the best is played in")
    given = parser.parse_args()
    torch.set_num_threads(1)
    shared, rng = SharedData(), generator(0, "attacker")
    dataset = imagined(given, given.out / "imagined")
    tried = []
    for attack in [*KNOWN, *(drawn_attack(rng) for _ in range(given.budget))]:
        tables = real_spec(given, attack, 0)
        tables["task"] = {**tables["task"], "dataset": dataset}
        tried.append((above(played(tables, given.out, shared)), attack))
        print(f"rehearsed: {tried[-1][0]:+.3f} {json.dumps(attack)}", flush=True)
    _, best = max(tried, key=lambda one: one[0])
    seeds = [int(seed) for seed in given.seeds.split(",")]
    finals = [played(real_spec(given, best, seed), given.out, shared) for seed in seeds]
    rate, accuracy = (
        t_estimate([above(one) for one in finals]),
        t_estimate([one["accuracy"] for one in finals]),
    )
    interval = f" ({rate.low:+.3f} to {rate.high:+.3f})" if rate.has_interval else ""
    print(
        f"{given.rule}: {rate.mean:+.3f}{interval} above natural, accuracy {accuracy.mean:.3f}, by {json.dumps(best)}"
    )


if __name__ == "__main__":
    main()
