"""Accuracy by depth for each skip connection, of what the benchmark `skips` came to.

    hauberk report runs/skips --csv skips.csv
    python benchmarks/skips_accuracy.py skips.csv --plot docs/skips_accuracy.png

Prints means and standard errors over the seeds, in percent, and draws them.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from collections import defaultdict
from pathlib import Path

Place = tuple[str, str]  # a data set, and how many clients hold it
Found = dict[Place, dict[str, dict[int, list[float]]]]  # by skip connection and number of blocks


def read(paths: list[Path]) -> Found:
    """Returns the accuracies of the finished cells, in percent; each depth is to have one learning rate."""
    found: Found = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    rates: dict[int, str] = {}
    for path in paths:
        with path.open(newline="", encoding="utf8") as file:
            for row in csv.DictReader(file):
                if row["status"] == "finished":
                    place = row["dataset"], row["federation.n_clients"]
                    blocks = int(row["task.model.n_layers"])
                    rate = row.get("training.optimizer.lr", "")
                    if rates.setdefault(blocks, rate) != rate:
                        raise SystemExit(
                            f"{path}: {blocks} blocks have learning rates {rates[blocks]} and {rate}"
                        )
                    found[place][row["rule"]][blocks].append(100 * float(row["accuracy"]))
    return found


def summary(values: list[float]) -> tuple[float, float]:
    """Returns the mean and its standard error; 0 where there is one value."""
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return statistics.mean(values), error


def depths_of(rules: dict[str, dict[int, list[float]]]) -> list[int]:
    """Returns the numbers of blocks that were played."""
    return sorted({depth for by_depth in rules.values() for depth, values in by_depth.items() if values})


def show(found: Found) -> None:
    """Prints a table for each data set and number of clients."""
    for (dataset, n_clients), rules in sorted(found.items()):
        depths = depths_of(rules)
        print(
            f"\n| {dataset}, clients: {n_clients} | "
            + " | ".join(f"{depth} blocks" for depth in depths)
            + " |"
        )
        print("|---" * (1 + len(depths)) + "|")
        for rule, by_depth in rules.items():
            cells = [
                "{:.1f} ± {:.1f}".format(*summary(by_depth[depth])) if by_depth[depth] else ""
                for depth in depths
            ]
            print(f"| {rule} | " + " | ".join(cells) + " |")


def draw(found: Found, path: Path) -> None:
    """Draws a panel for each data set and number of clients."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, (len(found) + 1) // 2, squeeze=False).T.ravel()
    for axes, ((dataset, n_clients), rules) in zip(panels, sorted(found.items()), strict=False):
        depths = depths_of(rules)
        axes.set_xticks(range(len(depths)), [str(depth) for depth in depths])
        for rule, by_depth in rules.items():
            places = [place for place, depth in enumerate(depths) if by_depth[depth]]
            means, errors = zip(*(summary(by_depth[depths[place]]) for place in places), strict=True)
            axes.errorbar(places, means, errors, marker="o", capsize=3, label=rule)
        who = "one client" if n_clients == "1" else f"{n_clients} clients"
        axes.set(title=f"{dataset}, {who}", xlabel="blocks", ylabel="accuracy, %")
        axes.grid(alpha=0.25)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Prints the tables and draws the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("csv", type=Path, nargs="+")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    found = read(given.csv)
    if not found:
        raise SystemExit(f"{given.csv[0]}: holds no finished cell")
    show(found)
    if given.plot is not None:
        draw(found, given.plot)


if __name__ == "__main__":
    main()
