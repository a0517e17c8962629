"""Every rule on one matrix, beside Flower's and ByzFL's own in the same process: seconds, ratios, memory.

    python benchmarks/aggregators.py                        # n=20, d=4.4M: seconds and ratios
    python benchmarks/aggregators.py --busy                 # the same while another process keeps one core busy
    python benchmarks/aggregators.py --memory --d 22700000  # peak memory beside the matrix, a process per rule

A ratio above 1 says how many times faster ours is. "passes" counts reads of the whole matrix at the measured
memory bandwidth: what no rule that looks at every number can undercut is 1.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.server.strategy import aggregate as legacy
from flwr.serverapp.strategy.bulyan import aggregate_n_closest_weights
from flwr.serverapp.strategy.fedtrimmedavg import trim_mean
from flwr.serverapp.strategy.multikrum import select_multikrum
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

from hauberk.strategies import AGGREGATORS, AggregationContext, Layout, Slot
from tests.helpers.oracles import byzfl

Work = Callable[[], Any]
SETTINGS: dict[str, dict[str, Any]] = {
    "robust_learning_rate": {"threshold": 4},
    "deepsight": {"n_inputs": 64},
}


def rows(n: int, d: int) -> torch.Tensor:
    """Returns updates of a plausible size, a common part and noise, float32 [n, d]."""
    rng = torch.Generator().manual_seed(0)
    common = torch.randn(d, generator=rng) * 1e-3
    return torch.stack([common + torch.randn(d, generator=rng) * 1e-3 for _ in range(n)])


def context(n: int, d: int) -> AggregationContext:
    """Returns what the rules that want more than rows want."""
    rng = torch.Generator().manual_seed(1)
    body = d - 602
    layout = Layout(
        (
            Slot("body", (body,), 0, body),
            Slot("head.weight", (2, 300), body, d - 2),
            Slot("head.bias", (2,), d - 2, d),
        )
    )
    parameters = torch.randn(d, generator=rng) * 0.05
    return AggregationContext(
        client_ids=tuple(range(n)),
        parameters=parameters,
        layout=layout,
        root_update=torch.randn(d, generator=rng) * 1e-3,
        logits=lambda vector: vector[:128].view(64, 2),
        round=1,
    )


def ours(name: str, f: int) -> Any:
    """Returns the rule under its default settings."""
    kind = AGGREGATORS[name]
    settings = dict(SETTINGS.get(name, {}))
    if any(field.name == "n_malicious" for field in dataclasses.fields(kind)):
        settings["n_malicious"] = f
    return kind(**settings)


def flowers(matrix: torch.Tensor, f: int) -> dict[str, Work]:
    """Returns Flower 1.41's own rules on the same rows, as its strategies call them."""
    arrays = list(matrix.numpy())
    contents = [
        RecordDict({"arrays": ArrayRecord({"w": Array(row)}), "metrics": MetricRecord({"num-examples": 1.0})})
        for row in arrays
    ]
    n = len(arrays)

    def bulyan() -> Any:
        chosen = select_multikrum(contents, f, n - 2 * f)
        kept = [content.array_records["arrays"].to_numpy_ndarrays() for content in chosen]
        middle = [np.median(layer, axis=0) for layer in zip(*kept, strict=True)]
        return aggregate_n_closest_weights(middle, kept, n - 4 * f)

    return {
        "fedavg": lambda: aggregate_arrayrecords(contents, "num-examples"),
        "multi_krum": lambda: select_multikrum(contents, f, n - f),
        "dim_krum": lambda: select_multikrum(contents, f, n - f),
        "median": lambda: np.median(np.stack(arrays), axis=0),
        "trimmed_mean": lambda: trim_mean(np.stack(arrays), f / n),
        "bulyan": bulyan,
    }


def legacy_flowers(matrix: torch.Tensor, f: int) -> dict[str, Work]:
    """Returns the Bulyan that Flower had before its message API, which is still in the package."""
    rows = list(matrix.numpy())

    def bulyan() -> Any:
        results = [([row], 1) for row in rows]  # it takes the chosen ones out of its list
        return legacy.aggregate_bulyan(results, f, legacy.aggregate_krum, to_keep=0)

    return {"bulyan": bulyan}


def byzfls(matrix: torch.Tensor, f: int) -> dict[str, Work]:
    """Returns ByzFL's rules on the same rows, where it is installed."""
    rules = byzfl("aggregators")
    if rules is None:
        return {}
    classes = {
        "fedavg": ("Average", {}), "multi_krum": ("MultiKrum", {"f": f}), "krum": ("Krum", {"f": f}),
        "median": ("Median", {}), "trimmed_mean": ("TrMean", {"f": f}), "rfa": ("GeometricMedian", {}),
        "centered_clip": ("CenteredClipping", {}), "meamed": ("Meamed", {"f": f}), "monna": ("MoNNA", {"f": f}),
    }  # fmt: skip
    return {
        name: (lambda rule: lambda: rule(matrix))(getattr(rules, cls)(**given))
        for name, (cls, given) in classes.items()
    }


def seconds(work: Work, repeats: int) -> float:
    """Returns the best of some calls after one that warms up."""
    work()
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def compare(given: argparse.Namespace) -> None:
    """Prints the table of seconds, ratios and passes."""
    matrix, known = rows(given.n, given.d), context(given.n, given.d)
    one_pass = seconds(lambda: matrix.sum(), given.repeats)
    bandwidth = matrix.nbytes / one_pass / 1e9
    print(
        f"n={given.n}, d={given.d:,}, f={given.f}, {torch.get_num_threads()} threads, one pass {one_pass:.3f} s ({bandwidth:.1f} GB/s)"
    )
    print(
        "| rule | s | flwr s | ratio | flwr legacy s | ratio | byzfl s | ratio | passes |\n|---|---|---|---|---|---|---|---|---|"
    )
    peers = {
        "flwr": flowers(matrix, given.f),
        "legacy": legacy_flowers(matrix, given.f),
        "byzfl": byzfls(matrix, given.f),
    }
    for name in given.rules or AGGREGATORS:
        rule = ours(name, given.f)
        mine = seconds(lambda rule=rule: rule(matrix, context=known), given.repeats)
        cells = [name, f"{mine:.3f}"]
        for table in peers.values():
            theirs = seconds(table[name], max(1, given.repeats // 3)) if name in table else None
            cells += [f"{theirs:.3f}", f"{theirs / mine:.1f}"] if theirs else ["", ""]
        print(f"| {' | '.join(cells)} | {mine / one_pass:.1f} |", flush=True)


def memory(given: argparse.Namespace) -> None:
    """Prints each rule's peak memory beside the matrix, its state apart, measured in a process of its own."""
    print(
        f"n={given.n}, d={given.d:,}: peak resident memory beside the update matrix\n| rule | share of the matrix |\n|---|---|"
    )
    for name in given.rules or AGGREGATORS:
        command = [
            sys.executable,
            __file__,
            "--one",
            name,
            "--n",
            str(given.n),
            "--d",
            str(given.d),
            "--f",
            str(given.f),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        print(f"| {name} | {done.stdout.strip() or done.stderr.strip().splitlines()[-1]} |", flush=True)


def peak_of(given: argparse.Namespace) -> None:
    """Prints the peak of one rule: the high-water mark is reset once the matrix and a first small call are there."""
    rule, known = ours(given.one, given.f), context(given.n, given.d)
    small = context(given.n, 10_000)
    rule(rows(given.n, 10_000), context=small)  # imports and thread pools are not the rule's
    matrix = rows(given.n, given.d)
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # else the rule would be charged less for what lies freed
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    result = rule(matrix, context=known)
    state = sum(t.nbytes for t in _tensors(result.state))
    print(f"{(_status('VmHWM') - before - state) / matrix.nbytes:.1%}")


def _tensors(tree: Any) -> list[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return [tree]
    values = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list | tuple) else []
    return [tensor for value in values for tensor in _tensors(value)]


def spin() -> None:
    """Keeps a core busy for ever."""
    while True:
        pass


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])


def main() -> None:
    """Reads the arguments and prints what they ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--d", type=int, default=4_400_000)
    parser.add_argument("--f", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rules", nargs="*")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--busy", action="store_true", help="beside a process that keeps one core busy")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.busy:
        multiprocessing.get_context("spawn").Process(target=spin, daemon=True).start()
    if given.one:
        peak_of(given)
    else:
        (memory if given.memory else compare)(given)


if __name__ == "__main__":
    main()
