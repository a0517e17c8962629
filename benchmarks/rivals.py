"""What repairs of the model make of a backdoor that `ledger` serves without, on the same 200 clean texts.

    python benchmarks/rivals.py runs/robustness/cells/* --repairs fine_tuning fine_pruning e_pur adversarial_unlearning

Takes the finished runs of `ledger` among the folders whose attack-free twins are there, too; their model is FedAvg's. The
repairs tune with labels, which `ledger` does not read. A repair's natural rate is that of the repaired twin. Figures are
of the test split: accuracy of the twin, attack success above natural, in points.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from _twins import with_twins

from hauberk.experiments.report.statistics import t_estimate
from hauberk.experiments.runner.finished import Finished, read_finished
from hauberk.experiments.runner.records import read_run
from hauberk.server.repairs import REPAIRS
from hauberk.server.serving import model_alone
from hauberk.tasks.seeds import generator


def figures(run: Finished, poison: Any, parameters: torch.Tensor | None) -> tuple[float, float]:
    """Returns accuracy and the share of triggered texts answered as wanted, in points; as served without parameters."""
    server = run.prepared.server
    texts = [run.prepared.test, poison.trigger(run.prepared.test, generator(run.spec.seed, "trigger"))]
    if parameters is None:
        clean, triggered = (run.logits(each) for each in texts)
    else:
        predict = model_alone(server, parameters)
        clean, triggered = (predict(server.task.encode(each)) for each in texts)
    labels = torch.tensor([each.label for each in run.prepared.test])
    return 100 * float((clean.argmax(dim=1) == labels).double().mean()), 100 * float(
        poison.success(triggered)
    )


def ways(run: Finished, names: list[str]) -> dict[str, torch.Tensor | None]:
    """Returns the parameters that answer by the name of what made them; None for what is served."""
    repaired = {name: run.repaired({name: REPAIRS[name]()})[0] for name in names}
    return {"ledger": None, "nothing": run.parameters, **repaired}


def compared(folder: Path, twin: Path, names: list[str]) -> dict[str, tuple[float, float, float]]:
    """Returns by way how far above natural an attack gets, the natural rate and the twin's accuracy."""
    run, (honest, natural), found = read_finished(folder), repaired_twin(twin, tuple(names)), {}
    assert run.prepared.server.attack is not None
    poison = run.prepared.server.attack.poison
    for way, parameters in ways(run, names).items():
        accuracy, expected = figures(honest, poison, natural[way])
        found[way] = figures(run, poison, parameters)[1] - expected, expected, accuracy
    return found


@cache
def repaired_twin(folder: Path, names: tuple[str, ...]) -> tuple[Finished, dict[str, torch.Tensor | None]]:
    """Returns a twin, and what answers in it: several attacks have the same one."""
    twin = read_finished(folder)
    return twin, ways(twin, list(names))


def main() -> None:
    """Prints a line for each run and way, and means over seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--repairs", nargs="*", default=["fine_tuning", "adversarial_unlearning"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for folder, twin, label in with_twins(given.runs, "ledger"):
        for way, found in compared(folder, twin, given.repairs).items():
            results[label, way].append(found)
            print(
                " | ".join(
                    [label, str(read_run(folder)[0]["seed"]), way, *(f"{value:.1f}" for value in found)]
                ),
                flush=True,
            )
    for (label, way), rows in sorted(results.items()):
        above, _, accuracy = (t_estimate(values) for values in zip(*rows, strict=True))
        print(
            f"{label} | {way}: {above.mean:.1f} ± {above.half_width:.1f} above natural, accuracy {accuracy.mean:.1f}"
        )


if __name__ == "__main__":
    main()
