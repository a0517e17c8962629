"""Detectors of poisoned inputs on finished runs, side by side.

    python benchmarks/detectors.py RUN [RUN...] --detectors dan strip rap onion --at 5%

Each run is judged with its own model, clean examples, test split and trigger. FAR is the share of triggered samples
accepted, FRR that of clean ones rejected, both among those that the model takes for the target; passes and
milliseconds are per judged sample. A dash is a figure that does not exist, and why stands below the table.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hauberk.experiments.analysis.detect import detect_run
from hauberk.server.detection.scoring import RATES
from hauberk.server.detectors import DETECTORS


def row(run: Path, name: str, report: dict[str, Any], at: str) -> str:
    """Returns one line of the table."""
    figures = [
        report["auroc"],
        report["far"][at],
        report["frr"][at],
        report["passes"],
        report["milliseconds"],
    ]
    shown = ["-" if value is None else f"{value:.3f}" for value in figures]
    n = "/".join(str(report["n"].get(side, "-")) for side in ("clean", "triggered"))
    return f"| {run.name} | {name} | {' | '.join(shown)} | {n} |"


def component(text: str) -> str | dict[str, Any]:
    """Returns a name, or the table that a JSON object describes."""
    return json.loads(text) if text.startswith("{") else text


def main() -> None:
    """Scores the detectors and prints the table, the rows of a run as soon as it is judged."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="+")
    parser.add_argument("--detectors", type=component, nargs="+", default=sorted(DETECTORS))
    parser.add_argument("--at", choices=[*RATES], default="5%", help="the allowed false-rejection rate")
    given = parser.parse_args()
    print(
        f"| run | detector | AUROC | FAR at {given.at} | FRR at {given.at} | passes | ms | clean/triggered |"
    )
    print("|---|---|---|---|---|---|---|---|")
    remarks = []
    for run in given.run:
        for name, report in detect_run(run, given.detectors).items():
            print(row(run, name, report, given.at), flush=True)
            why = [report["reasons"][key] for key in ("auroc", given.at) if key in report["reasons"]]
            remarks += [f"{run.name}, {name}: {line}" for line in (*why, *report["notes"])]
    print("\n" + "\n".join(remarks))


if __name__ == "__main__":
    main()
