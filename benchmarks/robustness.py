"""Who survives which attacker at which accuracy: the cells of the grid `robustness`, in this process, one after another.

    python benchmarks/robustness.py --out DIR                          all cells, hours
    python benchmarks/robustness.py --out DIR --only seed=1,2 --only aggregator.name=ledger,dim_krum
    python benchmarks/robustness.py --out DIR --show --figure worst.png   what is there already

A cell is an ordinary run in DIR; one that is finished is not played again, so that a stop costs one run. The folder has
the SST-2 files where the grid looks for them: run it in the folder that holds sst2/. Prints a Markdown table with the
attack success above the rule's own natural rate and the accuracy, mean over seeds and, from three seeds on, Student's
95 % interval. The model behind ledger is FedAvg's, so its row is printed too where fedavg was not played: the same
run without what serves.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

from hauberk.experiments import run
from hauberk.experiments.bench.grid import Cell
from hauberk.experiments.bench.grid_file import read_grid
from hauberk.experiments.report.statistics import Estimate, t_estimate
from hauberk.experiments.runner.data import SharedData
from hauberk.experiments.runner.records import SUMMARY, read_summary
from hauberk.tasks.digest import digest_of

NONE = "none"
Key = tuple[str, str, str, str]  # partition, rule, attack, seed
SHAPES = {"iid": "o", "dirichlet .5": "s"}


def key_of(cell: Cell) -> Key:
    """Returns what tells a cell from the others."""
    values = cell.values
    return values["federation.partition"], values["aggregator.name"], values["attack"], values["seed"]


def played(cells: list[Cell], out: Path, *, show: bool) -> dict[Key, dict[str, Any]]:
    """Returns the summaries of the cells, of those that are finished alone where ``show`` is set."""
    shared, found = SharedData(), {}
    for cell in cells:
        tables = {**cell.tables, "engine": {"name": "inline"}}
        folder = out / digest_of(tables)[:16]
        if not show:
            resume = (folder / "checkpoint").exists()
            figures = run(tables, out=folder, resume=resume, shared=shared).summary
            print(f"{cell.name}: {brief(figures)}", flush=True)
        if (folder / SUMMARY).exists():
            found[key_of(cell)] = read_summary(folder / SUMMARY)
    return with_fedavg(found)


def brief(summary: dict[str, Any]) -> str:
    """Returns the figures of one run."""
    rows = {summary["aggregator"]: summary["final"]}
    rows |= {"without serving": summary["serving"]["undefended"]} if "serving" in summary else {}
    return "; ".join(f"{name} " + " ".join(f"{k} {v:.3f}" for k, v in row.items() if v is not None)
                     for name, row in rows.items())  # fmt: skip


def with_fedavg(found: dict[Key, dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    """Returns the summaries with FedAvg's figures, where it was not played, from the runs under ledger."""
    more = {
        (partition, "fedavg", attack, seed): {"final": summary["serving"]["undefended"]}
        for (partition, rule, attack, seed), summary in found.items()
        if rule == "ledger"
    }
    return more | found


def excess(summary: dict[str, Any]) -> float | None:
    """Returns the attack success above natural; None where nobody attacks."""
    rate, natural = summary["final"]["attack_success_rate"], summary["final"]["attack_success_natural"]
    return None if rate is None or natural is None else rate - natural


def estimates(found: dict[Key, dict[str, Any]]) -> dict[tuple[str, str, str], tuple[Estimate, Estimate]]:
    """Returns excess and accuracy over seeds by partition, rule and attack."""
    values: dict[tuple[str, str, str], list[tuple[float, float]]] = defaultdict(list)
    for (partition, rule, attack, _), summary in sorted(found.items()):
        above = excess(summary)
        nan = float("nan")
        values[partition, rule, attack].append(
            (nan if above is None else above, summary["final"]["accuracy"])
        )
    return {
        key: (t_estimate([x for x, _ in rows]), t_estimate([y for _, y in rows]))
        for key, rows in values.items()
    }


def table(found: dict[Key, dict[str, Any]]) -> str:
    """Returns the Markdown table."""
    lines = ["| data | rule | attacker | above natural | accuracy | seeds |", "|---|---|---|---|---|---|"]
    for (partition, rule, attack), (above, accuracy) in estimates(found).items():
        cells = [
            partition,
            rule,
            attack,
            text(above) if attack != NONE else "",
            text(accuracy),
            str(accuracy.n),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def text(one: Estimate) -> str:
    """Returns a mean with its interval, where there is one."""
    if one.mean != one.mean:
        return "-"
    return f"{one.mean:+.3f}" + (f" ({one.low:+.2f} to {one.high:+.2f})" if one.has_interval else "")


def draw(found: dict[Key, dict[str, Any]], path: Path) -> None:
    """Draws for each rule its worst case over attackers against its accuracy without one."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    known = estimates(found)
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    rules = sorted({rule for _, rule, _ in known})
    for (partition, rule, attack), (_, accuracy) in known.items():
        worst = [
            above.mean for (p, r, a), (above, _) in known.items() if (p, r) == (partition, rule) and a != NONE
        ]
        if attack == NONE and worst:
            colour, shape = f"C{rules.index(rule)}", SHAPES.get(partition, "D")
            axes.plot(accuracy.mean, max(worst), shape, color=colour, markersize=9)
            axes.annotate(
                f"{rule}, {partition}", (accuracy.mean, max(worst)), (6, 5), textcoords="offset points"
            )
    axes.axhspan(-0.3, 0.05, color="tab:green", alpha=0.08)
    axes.set(xlabel="accuracy when nobody attacks  (right is better)", ylim=(-0.3, 1),
             ylabel="backdoor of its worst attacker:\nattack success above natural  (down is better)")  # fmt: skip
    figure.savefig(path, dpi=130)


def main() -> None:
    """Plays what is not there yet, and shows what is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", default=[], metavar="KEY=LABEL,...")
    parser.add_argument("--show", action="store_true", help="play nothing")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    found = played(read_grid("robustness", only=given.only).cells(), given.out, show=given.show)
    print(table(found))
    if given.figure:
        draw(found, given.figure)


if __name__ == "__main__":
    main()
