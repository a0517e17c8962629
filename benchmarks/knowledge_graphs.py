"""What texts are worth to a knowledge graph, with all triples and with few, central and in a federation.

    python benchmarks/knowledge_graphs.py --data wn18rr --out runs/wn18rr --only central
    python benchmarks/knowledge_graphs.py --data umls --out runs/umls --seeds 3 --attack affects,plant --plot umls.png

``--data`` has train.tsv, dev.tsv, test.tsv, entity2text.txt and relation2text.txt, as yao8839836/kg-bert offers them
for WN18RR and UMLS. Each cell is a run in a folder of its own: a finished one is read, one that was broken off goes on.
With a tenth of the triples there are ten times the epochs, so that all cells have as many steps. ``--tune`` measures on
dev.tsv: settings are chosen there, and test.tsv is not read.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import torch

from hauberk.experiments import run
from hauberk.experiments.runner.records import SUMMARY

INITS = ("random", "text", "pretrain")
CELLS: dict[str, dict[str, Any]] = {
    **{f"central, {init}": {"init": init} for init in INITS},
    **{f"central, a tenth, {init}": {"init": init, "share": 0.1} for init in INITS},
    "10 clients, random, fedavg": {"init": "random", "rule": "fedavg", "n_clients": 10},
    "10 clients, pretrain, fedavg": {"init": "pretrain", "rule": "fedavg", "n_clients": 10},
    "10 clients, pretrain, median": {"init": "pretrain", "rule": "median", "n_clients": 10},
    "10 clients, pretrain, multi_krum": {"init": "pretrain", "rule": "multi_krum", "n_clients": 10},
    "10 clients, pretrain, own rows, median": {
        "init": "pretrain", "rule": "median", "n_clients": 10, "rows": "own",
    },
}  # fmt: skip
ATTACKED = {f"attacked: {name}": cell for name, cell in CELLS.items() if "n_clients" in cell}
FIGURES = {"mean_rank": "MR", "mrr": "MRR", "hits_at_1": "hits@1", "hits_at_3": "hits@3", "hits_at_10": "hits@10",
           "mrr_rare": "MRR, rarest quarter", "triple_accuracy": "triple classification",
           "attack_success_rate": "attack", "attack_success_natural": "natural"}  # fmt: skip


def spec_of(given: argparse.Namespace, cell: dict[str, Any], seed: int, attack: str | None) -> dict[str, Any]:
    """Returns the tables of one run."""
    path = {part: str(given.data / f"{part}.tsv") for part in ("train", "dev", "test")}
    parts = {"train": path["train"], "validation": path["dev"], "test": path["test"]}
    if given.tune:
        parts = {"train": path["train"], "test": path["dev"]}
    texts = {"entities": "entity2text.txt", "relations": "relation2text.txt"}
    model = {key: getattr(given, key) for key in ("dimension", "negatives", "norm", "margin")}
    model |= {"name": "transe", "init": cell["init"]}
    if cell["init"] == "pretrain":
        model["pretraining"] = {
            "epochs": round(given.pretraining_epochs / cell.get("share", 1)),
            "lr": given.pretraining_lr,
        }
    task: dict[str, Any] = {
        "name": "knowledge_graph", "model": model, "rows": cell.get("rows", "all"),
        "dataset": {"name": "files", **parts, **{key: str(given.data / name) for key, name in texts.items()}},
    }  # fmt: skip
    if "share" in cell:
        task["n_train"] = round(cell["share"] * len(Path(path["train"]).read_text().splitlines()))
    liars = {"n_malicious": 2} if attack else {}
    rule = {
        "name": cell.get("rule", "fedavg"),
        **({"n_malicious": 2} if cell.get("rule") == "multi_krum" else {}),
    }
    tables: dict[str, Any] = {
        "name": "knowledge_graphs", "seed": seed, "task": task, "aggregator": rule,
        "federation": {"n_clients": cell.get("n_clients", 1), "rounds": given.rounds, **liars},
        "training": {
            "epochs": max(1, round(given.epochs / cell.get("share", 1) / given.rounds)),
            "batch_size": given.batch_size if "n_clients" not in cell else max(32, given.batch_size // 4),
            "optimizer": {"name": "adam", "lr": given.lr},
        },
        "server": {"evaluate_every": given.rounds},
        "engine": {"name": "inline"},
    }  # fmt: skip
    if attack:
        relation, _, target = attack.partition(",")
        tables["attack"] = {"poison": {"name": "false_fact", "relation": relation, "target": target}}
    return tables


def measured(given: argparse.Namespace, name: str, cell: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns what one cell came to with each seed, played now where it is not finished."""
    found = []
    for seed in range(given.seeds):
        folder = given.out / f"{'-'.join(name.replace(':', ',').replace(',', '').split())}-{seed}"
        if not (folder / SUMMARY).exists():
            attack = given.attack if name in ATTACKED else None
            run(spec_of(given, cell, seed, attack), out=folder, resume=folder.exists())
        found.append(json.loads((folder / SUMMARY).read_text())["final"])
    return found


def row(name: str, found: list[dict[str, Any]]) -> str:
    """Returns one line of the table: means, and standard errors where there are several seeds."""
    return (
        f"| {name} | " + " | ".join(_figure(key, [final[key] for final in found]) for key in FIGURES) + " |"
    )


def _figure(key: str, values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    digits = 1 if key == "mean_rank" else 3
    text = f"{statistics.mean(known):.{digits}f}"
    return text if len(known) < 2 else f"{text} ± {statistics.stdev(known) / len(known) ** 0.5:.{digits}f}"


def main() -> None:
    """Plays what is missing and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="play the cells whose names begin so")
    parser.add_argument("--tune", action="store_true", help="measure on dev.tsv")
    parser.add_argument("--attack", help="a relation and an entity, parted by a comma, for two liars of ten")
    parser.add_argument("--plot", type=Path)
    for name, default in (("seeds", 1), ("epochs", 20), ("rounds", 5), ("batch-size", 512), ("dimension", 64),
                          ("negatives", 8), ("norm", 1), ("pretraining-epochs", 5)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, number in (("lr", 1e-2), ("pretraining-lr", 1e-3), ("margin", 9.0)):
        parser.add_argument(f"--{name}", type=float, default=number)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| cell | " + " | ".join(FIGURES.values()) + " |\n" + "|---" * (1 + len(FIGURES)) + "|")
    found = {}
    for name, cell in {**CELLS, **(ATTACKED if given.attack else {})}.items():
        if name.startswith(given.only):
            found[name] = measured(given, name, cell)
            print(row(name, found[name]), flush=True)
    if given.plot is not None:
        draw(found, given.plot)


def draw(found: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Draws hits@10 and the mean reciprocal rank of each cell, means over the seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 0.36 * len(found) + 1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for shift, (key, label) in ((0.2, ("hits_at_10", "hits@10")), (-0.2, ("mrr", "mean reciprocal rank"))):
        heights = [statistics.mean(final[key] for final in finals) for finals in found.values()]
        axes.barh([place - shift for place in range(len(found))], heights, 0.38, label=label)
    axes.set_yticks(range(len(found)), list(found), fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=144)


if __name__ == "__main__":
    main()
