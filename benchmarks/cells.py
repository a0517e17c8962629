"""Runs a spec for every combination of some values; prints mean ± standard deviation (standard error) over seeds.

    python benchmarks/cells.py SPEC --vary aggregator.name=fedavg,dim_krum --seeds 0,1,2 --out runs/cells

Each cell is an ordinary run in its own folder, in this process: what is finished is kept, and an interrupted table
goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hauberk.experiments import run
from hauberk.experiments.spec.loader import load

METRICS = ("accuracy", "attack_success_rate", "attack_success_natural", "attack_success_floor")


def cell(given: argparse.Namespace, changes: list[str], seed: int) -> dict[str, float]:
    """Returns the final metrics of one run."""
    spec = load(given.spec, [*given.set, *changes, f"seed={seed}", "engine.name=inline"])
    folder = given.out / f"{spec.name}-{spec.hash[:12]}"
    result = run(spec, out=folder, resume=(folder / "checkpoint").exists())
    return {"seconds": result.summary["seconds"], **result.summary["final"]}


def row(label: str, cells: list[dict[str, float]]) -> str:
    """Returns one line of the table: mean and standard deviation over the seeds, and the mean's standard error."""
    columns = []
    for name in METRICS:
        values = [one[name] for one in cells if one[name] is not None]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        error = spread / len(values) ** 0.5 if values else 0.0
        columns.append(f"{statistics.mean(values):.3f} ± {spread:.3f} ({error:.3f})" if values else "-")
    return f"| {label} | {' | '.join(columns)} | {statistics.mean(one['seconds'] for one in cells):.0f} |"


def main() -> None:
    """Runs the cells and prints the table, a row as soon as its seeds are finished."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spec", type=Path)
    parser.add_argument("--vary", action="append", default=[], metavar="key=v1,v2")
    parser.add_argument("--set", action="append", default=[], metavar="key=value")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, default=Path("runs/cells"))
    given = parser.parse_args()
    axes = [(key, values.split(",")) for key, _, values in (axis.partition("=") for axis in given.vary)]
    print(
        "| "
        + " ".join(key for key, _ in axes)
        + " | accuracy | attack success | natural | its floor | s |\n|---|---|---|---|---|---|"
    )
    for values in itertools.product(*(values for _, values in axes)):
        changes = [f"{key}={value}" for (key, _), value in zip(axes, values, strict=True)]
        cells = [cell(given, changes, int(seed)) for seed in given.seeds.split(",")]
        print(row(" ".join(values), cells), flush=True)


if __name__ == "__main__":
    main()
