"""Repairs of finished runs: accuracy, attack success and its floor before and after, on the test split.

    python benchmarks/repairs.py RUN --repair "fine_mixing keep=0.3" --repair "e_pur + fine_mixing" --clean 64 512

Every line starts from the run's own final model; ``+`` chains repairs. Each repeat has clean examples and draws masks
of its own. What is chosen by looking at figures is chosen with ``--split validation``.

    python benchmarks/repairs.py RUN --curve docs/fine_mixing.png --clean 64 512

draws what fine-mixing makes of accuracy and attack success for shares from 0 to 1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hauberk.experiments.analysis.repair import repairs_of, with_workers
from hauberk.experiments.runner.finished import Finished, read_finished
from hauberk.server.evaluation import prepare_evaluation
from hauberk.server.repairs import Repair

METRICS = ("accuracy", "attack_success_rate", "attack_success_floor")
LABELS = dict(zip(METRICS, ("accuracy", "attack success", "its floor"), strict=True))


def steps_of(text: str) -> dict[str, Repair]:
    """Returns the repairs that ``name key=value ... + name ...`` asks for."""
    parts = [part.split() for part in text.split("+")]
    changes = [f"{name}.{setting}" for name, *settings in parts for setting in settings]
    return repairs_of([name for name, *_ in parts], changes)


def on_validation(run: Finished) -> Finished:
    """Returns the run with its validation split in place of the test split."""
    prepared = run.prepared
    task, spec = prepared.worker.task, prepared.spec
    evaluate = prepare_evaluation(
        task, task.splits(spec.seed).validation, prepared.server.attack, spec.seed,
        prepared.server.evaluate.precision, prepared.server.evaluate.device,
    )  # fmt: skip
    return replace(run, prepared=replace(prepared, server=replace(prepared.server, evaluate=evaluate)))


def with_clean(run: Finished, first: int) -> Finished:
    """Returns the run with its clean examples in another order, from the one at ``first`` round to the one before it."""
    repairs = run.prepared.server.repairs
    if not run.clean:  # which the repair itself says in a line
        return run
    turned = run.clean[first % len(run.clean) :] + run.clean[: first % len(run.clean)]
    repairs = replace(repairs, assets=replace(repairs.assets, clean=turned))
    return replace(run, prepared=replace(run.prepared, server=replace(run.prepared.server, repairs=repairs)))


def line(label: str, found: list[dict[str, Any]], note: str = "") -> str:
    """Returns one line of the table: means, and the spread of the success rate where there are repeats."""
    cells = []
    for name in METRICS:
        values = [one[name] for one in found]
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.3f}{spread}")
    return f"| {label} | {' | '.join(cells)} | {note} |"


def each(found: dict[str, Any], reports: dict[str, Any]) -> str:
    """Returns what came of one repeat, and the share that a search kept."""
    kept = "".join(f" (kept {report['keep']:.2f})" for report in reports.values() if "search" in report)
    return f"{found['accuracy']:.3f} / {found['attack_success_rate']:.3f}{kept}"


def draw_curve(run: Finished, n_cleans: list[int], path: Path) -> None:
    """Prints and draws accuracy and attack success over the share of weights that fine-mixing keeps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8 * len(n_cleans), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    keeps = [step / 10 for step in range(11)]
    for panel, n_clean in zip(figure.subplots(1, len(n_cleans), squeeze=False)[0], n_cleans, strict=True):
        found = []
        for keep in keeps:
            parameters, _ = run.repaired(steps_of(f"fine_mixing keep={keep}"), n_clean=n_clean, seed=0)
            found.append(run.metrics(parameters))
            print(line(f"fine_mixing keep={keep} | {n_clean}", [found[-1]]), flush=True)
        before = run.metrics(run.parameters)
        for (name, label), colour in zip(LABELS.items(), ("#1b6ca8", "#c0392b", "#7f8c8d"), strict=True):
            panel.plot(keeps, [one[name] for one in found], "o-", color=colour, label=label, ms=4)
            panel.axhline(before[name], color=colour, lw=0.8, ls=":")
        panel.set(
            title=f"{n_clean} clean texts", xlabel="share of fine-tuned weights kept", ylim=(-0.03, 1.03)
        )
        panel.grid(alpha=0.25)
    panel.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=144)


def main() -> None:
    """Repairs and prints a line for each repair and number of clean examples."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--repair", action="append", default=[])
    parser.add_argument("--clean", type=int, nargs="+", default=[64])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--curve", type=Path, metavar="PNG")
    parser.add_argument("--split", choices=["test", "validation"], default="test")
    given = parser.parse_args()
    run = read_finished(given.run)
    if given.split == "validation":
        run = on_validation(run)
    print("| repair | clean | accuracy | attack success | its floor | note |\n|---|---|---|---|---|---|")
    print(line("none | ", [run.metrics(run.parameters)]), flush=True)
    if given.curve:
        draw_curve(run, given.clean, given.curve)
    for text in given.repair:
        for n_clean in given.clean:
            found, notes, started = [], [], time.perf_counter()
            for repeat in range(given.repeats):
                drawn, steps = with_clean(run, repeat * n_clean), steps_of(text)
                with with_workers(drawn, steps) as shared:
                    parameters, reports = shared.repaired(steps, n_clean=n_clean, seed=repeat)
                found.append(run.metrics(parameters))
                notes.append(each(found[-1], reports))
            seconds = (time.perf_counter() - started) / given.repeats
            print(line(f"{text} | {n_clean}", found, ", ".join([*notes, f"{seconds:.0f} s"])), flush=True)


if __name__ == "__main__":
    main()
