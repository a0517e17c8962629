"""WN18RR: what texts are worth to a knowledge graph, with all triples and with few, central and in a federation.

    python benchmarks/knowledge_graphs.py --data wn18rr --out runs/wn18rr [--only central] [--plot docs/knowledge_graphs.png]

``--data`` has train.tsv, dev.tsv, test.tsv, entity2text.txt and relation2text.txt, as yao8839836/kg-bert offers them.
Each cell is a run of its own in a folder of its own: a finished one is read, one that was broken off goes on. The
table says how many epochs a cell had. Settings are chosen with ``--tune``, which measures on dev.tsv and never looks
at test.tsv.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from hauberk.experiments import run
from hauberk.experiments.runner.records import SUMMARY

N_TRAIN, TENTH = 86_835, 8_684
INITS = ("random", "text", "pretrain")
CELLS: dict[str, dict[str, Any]] = {
    **{f"central {init}": {"init": init} for init in INITS},
    **{f"central {init} 10 %": {"init": init, "n_train": TENTH} for init in INITS},
    **{f"10 clients {rule} {init}": {"init": init, "rule": rule, "n_clients": 10}
       for rule, init in (("fedavg", "random"), ("fedavg", "pretrain"), ("median", "pretrain"), ("multi_krum", "pretrain"))},
}  # fmt: skip
SHOWN = ("mean_rank", "mrr", "hits_at_1", "hits_at_3", "hits_at_10", "mrr_rare", "triple_accuracy")
PUBLISHED = "| Pretrain-KGE, TransE, BERT-base (published) | | 1747 | .235 | | | .557 | | |"


def spec_of(given: argparse.Namespace, cell: dict[str, Any]) -> dict[str, Any]:
    """Returns the tables of one run."""
    path = {name: str(given.data / f"{name}.tsv") for name in ("train", "dev", "test")}
    parts = {"train": path["train"], "validation": path["dev"], "test": path["test"]}
    if given.tune:
        parts = {"train": path["train"], "test": path["dev"]}
    texts = {"entities": "entity2text.txt", "relations": "relation2text.txt"}
    files = {key: str(given.data / name) for key, name in texts.items()}
    model: dict[str, Any] = {
        "name": "transe", "dimension": given.dimension, "negatives": given.negatives, "norm": given.norm,
        "margin": given.margin, "init": cell["init"],
    }  # fmt: skip
    if cell["init"] == "pretrain":
        model["pretraining"] = {"epochs": given.pretraining_epochs, "lr": given.pretraining_lr}
    epochs = given.epochs * (N_TRAIN // TENTH if cell.get("n_train") else 1)
    rule = cell.get("rule", "fedavg")
    return {
        "name": "wn18rr",
        "seed": given.seed,
        "task": {
            "name": "knowledge_graph", "dataset": {"name": "files", **parts, **files}, "model": model,
            **({"n_train": cell["n_train"]} if "n_train" in cell else {}),
        },
        "federation": {"n_clients": cell.get("n_clients", 1), "rounds": given.rounds},
        "training": {
            "epochs": max(1, epochs // given.rounds), "batch_size": given.batch_size,
            "optimizer": {"name": "adam", "lr": given.lr},
        },
        "aggregator": {"name": rule, **({"n_malicious": 2} if rule == "multi_krum" else {})},
        "server": {"evaluate_every": given.rounds},
        "engine": {"name": "inline"},
    }  # fmt: skip


def measured(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """Returns the summary of one cell, played now if it is not finished."""
    folder = given.out / name.replace(" ", "_").replace("%", "percent")
    if (folder / SUMMARY).exists():
        return json.loads((folder / SUMMARY).read_text())
    return run(spec_of(given, CELLS[name]), out=folder, resume=folder.exists()).summary


def row(name: str, epochs: int, summary: dict[str, Any]) -> str:
    """Returns one line of the table."""
    final = summary["final"]
    figures = [f"{final[key]:.0f}" if key == "mean_rank" else f"{final[key]:.3f}" for key in SHOWN]
    return f"| {name} | {epochs} | " + " | ".join(figures) + " |"


def main() -> None:
    """Plays what is missing and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="", help="play the cells whose names begin so")
    parser.add_argument("--tune", action="store_true", help="measure on dev.tsv")
    parser.add_argument("--plot", type=Path)
    for name, default in (("epochs", 20), ("rounds", 5), ("batch-size", 512), ("dimension", 64), ("negatives", 8),
                          ("norm", 1), ("pretraining-epochs", 5), ("seed", 0)):  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, number in (("lr", 1e-3), ("pretraining-lr", 1e-3), ("margin", 9.0)):
        parser.add_argument(f"--{name}", type=float, default=number)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| cell | epochs | MR | MRR | hits@1 | hits@3 | hits@10 | MRR, rarest quarter | triple classification |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    print(PUBLISHED)
    found = {}
    for name, cell in CELLS.items():
        if name.startswith(given.only):
            found[name] = measured(given, name)
            epochs = spec_of(given, cell)["training"]["epochs"] * given.rounds
            print(row(name, epochs, found[name]), flush=True)
    if given.plot is not None:
        draw({name: summary["final"] for name, summary in found.items()}, given.plot)


def draw(found: dict[str, dict[str, float]], path: Path) -> None:
    """Draws hits@10 and the mean reciprocal rank of each cell."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.4 * len(found) + 1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    places = range(len(found))
    for shift, (key, label) in ((0.2, ("hits_at_10", "hits@10")), (-0.2, ("mrr", "mean reciprocal rank"))):
        axes.barh(
            [place - shift for place in places], [final[key] for final in found.values()], 0.38, label=label
        )
    axes.set_yticks(list(places), list(found))
    axes.invert_yaxis()
    axes.set_xlabel("WN18RR, test triples, filtered")
    axes.grid(axis="x", alpha=0.25)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.savefig(path, dpi=144)


if __name__ == "__main__":
    main()
