"""Attack by rule: every attack against four aggregators, means over seeds, in one resumable table.

    python benchmarks/attacks.py experiments/configs/sst2.toml --data sst2 --out runs/attacks

Ten clients of whom one lies, ten rounds. Each cell is an ordinary run in its own folder: what is finished is not run
again, so that several processes can share the work, each with its own ``--attacks``, and one more prints the table. A
cell of the table is the attack success rate, its natural rate and the accuracy; the last two columns are the liar's size beside
the benign clients' and its best rank under Krum and Dim-Krum (1 is the most trusted), means over the rounds of the
fedavg runs. ``--natural`` prints the natural rates alone, of every trigger under every rule: it plays the attack-free twins
and no attack, since attacks that differ in how they train or what they send have the same trigger and so the same rate.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hauberk.experiments import run
from hauberk.experiments.engines.inline import InlineEngine
from hauberk.experiments.runner.execute import play_twin
from hauberk.experiments.runner.identity import identity_of
from hauberk.experiments.runner.progress import Quiet
from hauberk.experiments.runner.records import read_rounds
from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.runner.twin import natural_rates
from hauberk.experiments.spec.loader import load
from hauberk.tasks.errors import UserError

RULES = ("fedavg", "median", "multi_krum", "dim_krum")
ONE_WORD = 'attack.poison.words=["cf"]'
POISON = "attack.poison.name"
TAMPER = "attack.tamper"
FORGE = "attack.forge"
TRIGGERS = (
    "bad_word", "bad_word, one word", "bad_sentence", "bad_char", "syntactic, own", "style, all", "sos", "combination",
    "edge_case",
)  # fmt: skip


def attacks(data: Path) -> dict[str, list[str]]:
    """Returns what each attack changes in the spec; ``data`` holds the ready-made paraphrases."""

    def files(name: str) -> list[str]:
        return [f"attack.poison.{part}={data}/{name}_{part}.jsonl" for part in ("train", "test")]

    return {
        "bad_word": [],
        "bad_word, one word": [ONE_WORD],
        "bad_sentence": [f"{POISON}=bad_sentence"],
        "bad_char": [f"{POISON}=bad_char"],
        "syntactic, all": [
            f"{POISON}=syntactic", *files("syntactic"), "attack.poison.share=all",
            "attack.poison.repeat=3", "attack.poison.policy=mixed",
        ],
        "syntactic, own": [f"{POISON}=syntactic", *files("syntactic")],
        "style, all": [f"{POISON}=style", *files("style_bible"), "attack.poison.share=all"],
        "sos": [f"{POISON}=sos", f"{TAMPER}=sos"],
        "combination": [f"{POISON}=combination"],
        "edge_case": [f"{POISON}=edge_case", "attack.poison.target=0"],  # its sentences are kind
        "embedding_poisoning": [ONE_WORD, f"{TAMPER}=embedding_poisoning"],
        "embedding_poisoning, scaled": [ONE_WORD, f"{TAMPER}.name=embedding_poisoning", f"{TAMPER}.scale=clients"],
        "ripples": [f"{TAMPER}=ripples"],
        "neurotoxin": [f"{TAMPER}=neurotoxin"],
        "model_replacement": [f"{TAMPER}=model_replacement"],
        "projected": [f"{TAMPER}.name=projected"],
        "surgery": [f"{TAMPER}.name=surgery", f"{TAMPER}.budget=1e-3"],
        "alie": [f"{FORGE}=alie"],
        "min_max": [f"{FORGE}=min_max"],
        "dim_krum_shift": [f"{FORGE}=dim_krum_shift"],
        "dim_krum_projection": [f"{FORGE}=dim_krum_projection"],
        "dim_krum_penalty": [f"{TAMPER}=dim_krum_penalty"],
        "dim_krum_spread": [f"{TAMPER}=dim_krum_spread"],
    }  # fmt: skip


def cell(given: argparse.Namespace, changes: Sequence[str], rule: str, seed: int) -> tuple[Path, Any]:
    """Returns the folder and the spec of one run."""
    fixed = [
        f"aggregator.name={rule}",
        f"seed={seed}",
        f"federation.rounds={given.rounds}",
        "engine.name=inline",
    ]
    spec = load(given.spec, [*given.set, *changes, *fixed])
    return given.out / f"{spec.hash[:16]}", spec


def finished(
    given: argparse.Namespace, name: str, changes: Sequence[str], rule: str, seed: int
) -> dict[str, Any]:
    """Runs one cell if need be and returns its final metrics and the liar's place in each round."""
    folder, spec = cell(given, changes, rule, seed)
    try:
        result = run(spec, out=folder, resume=(folder / "checkpoint").exists())
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return {**result.summary["final"], "forensics": [line["forensics"] for line in read_rounds(folder)]}


def row(name: str, cells: dict[str, list[dict[str, Any]]]) -> str:
    """Returns one line of the table."""
    columns = []
    for found in cells.values():
        rate, natural, accuracy = (
            statistics.mean(one[key] for one in found)
            for key in ("attack_success_rate", "attack_success_natural", "accuracy")
        )
        columns.append(f"**{rate:.2f}** / {natural:.2f} / {accuracy:.3f}")
    seen = [line for one in cells["fedavg"] for line in one["forensics"] if "stealth/norm" in line]
    size, krum, dim_krum = (
        statistics.mean(value(line) for line in seen)
        for value in (
            lambda line: line["stealth/norm"] / line["stealth/benign_norm"],
            lambda line: line["stealth/krum_rank"],
            lambda line: line["stealth/dim_krum_rank"],
        )
    )
    return f"| {name} | {' | '.join(columns)} | {size:.1f} | {krum:.0f} / {dim_krum:.0f} |"


def natural_rate(given: argparse.Namespace, changes: Sequence[str], rule: str, seed: int) -> float:
    """Returns what a trigger does to the final model of the attack-free twin, which is played where it is missing."""
    spec = cell(given, changes, rule, seed)[1]
    splits = spec.parts.task.splits(spec.seed)
    identity = identity_of(spec.hash, splits, spec.device)
    play = partial(play_twin, InlineEngine(Event()), Quiet())
    rates = natural_rates(prepare(spec, splits=splits), identity, given.out, play)
    return rates[max(rates)]


def print_natural_rates(given: argparse.Namespace) -> None:
    """Prints mean and standard deviation over the seeds of each trigger's natural rate under each rule."""
    print(f"| trigger | {' | '.join(RULES)} |\n|---|{'---|' * len(RULES)}")
    for name in TRIGGERS:
        changes = attacks(given.data)[name]
        rates = [[natural_rate(given, changes, rule, seed) for seed in given.seeds] for rule in RULES]
        cells = (f"{statistics.mean(each):.2f} ± {statistics.stdev(each):.2f}" for each in rates)
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Runs what is missing; prints the table unless it is one shard of several."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spec", type=Path)
    parser.add_argument("--data", type=Path, default=Path("sst2"))
    parser.add_argument("--attacks", nargs="*", help="some of them; by default all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--set", action="append", default=[], metavar="key=value")
    parser.add_argument("--finished", action="store_true", help="print the finished rows and run nothing")
    parser.add_argument("--out", type=Path, default=Path("runs/attacks"))
    parser.add_argument("--natural", action="store_true", help="print the natural rates alone")
    given = parser.parse_args()
    if given.natural:
        print_natural_rates(given)
        return
    print(f"| attack | {' | '.join(RULES)} | size | rank |\n|---|{'---|' * (len(RULES) + 2)}")
    for name, changes in attacks(given.data).items():
        cells = [(rule, seed) for rule in RULES for seed in given.seeds]
        if name not in (given.attacks or [name]):
            continue
        if given.finished and not all(
            (cell(given, changes, *one)[0] / "summary.json").exists() for one in cells
        ):
            continue
        found: dict[str, list[dict[str, Any]]] = {rule: [] for rule in RULES}
        for rule, seed in cells:
            found[rule].append(finished(given, name, changes, rule, seed))
        print(row(name, found), flush=True)


if __name__ == "__main__":
    main()
