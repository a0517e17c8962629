"""How each rule's cost grows with the clients: seconds at several n, and the power of n that they follow.

    python benchmarks/growth.py                                   # all rules, d=1.5M, n=20, 50, 100, 200
    python benchmarks/growth.py --rules dim_krum median --busy    # the same beside a process that keeps one core busy

A power of 1 is a cost in proportion to the matrix, 2 one in proportion to the pairs of clients. f is a fifth of the
clients, a tenth for the rules that bear less; a setting that a rule refuses is printed as it says so.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from aggregators import context, ours, rows, spin

from hauberk.strategies import AGGREGATORS, PRE_AGGREGATORS, Clip, DimKrum

SELECTIONS = ("global", "z", "per_tensor", "full")
Work = Callable[[torch.Tensor], Any]


def works(names: list[str] | None, n: int, d: int) -> Iterator[tuple[str, Work]]:
    """Yields what is timed: the rules, Dim-Krum's other selections, and the pre-aggregators."""
    known = context(n, d)
    rules = {name: (lambda f, name=name: ours(name, f)) for name in AGGREGATORS}
    for kind in SELECTIONS:
        rules[f"dim_krum, {kind}"] = lambda f, kind=kind: DimKrum(n_malicious=f, selection=kind)
    for name, build in rules.items():
        if names is None or name in names:
            yield name, lambda matrix, build=build: _bearable(build, n)(matrix, context=known)
    for name, kind in PRE_AGGREGATORS.items():
        if names is None or name in names:
            yield f"{name} (before)", lambda matrix, kind=kind: _pre(kind, n)(matrix, context=known)


def _bearable(build: Callable[[int], Any], n: int) -> Any:
    """Returns the rule with as many liars as it bears: n/5, or else n/10."""
    rule = build(n // 5)
    try:
        rule.check(n)
    except ValueError:
        return build(n // 10)
    return rule


def _pre(kind: Any, n: int) -> Any:
    return kind(threshold=1.0) if kind is Clip else kind(n_malicious=n // 5) if _counts(kind) else kind()


def _counts(kind: Any) -> bool:
    return any(field.name == "n_malicious" for field in dataclasses.fields(kind))


def seconds(work: Work, matrix: torch.Tensor, repeats: int) -> float:
    """Returns the best of some calls; one alone where a call takes over five seconds."""
    best = math.inf
    for _ in range(repeats):
        started = time.perf_counter()
        work(matrix)
        best = min(best, time.perf_counter() - started)
        if best > 5:
            break
    return best


def column(given: argparse.Namespace, n: int) -> dict[str, float | str]:
    """Returns each rule's seconds at ``n`` clients, or why it refuses."""
    matrix, found = rows(n, given.d), {}
    for name, work in works(given.rules, n, given.d):
        try:
            found[name] = seconds(work, matrix, given.repeats)
        except ValueError as refusal:
            found[name] = str(refusal)
        print(f"n={n}: {name}: {found[name]}", flush=True)
    return found


def table(given: argparse.Namespace) -> str:
    """Returns the table in Markdown: a row a rule, a column a number of clients, and the last two columns' power."""
    columns = [column(given, n) for n in given.n]
    head = ["rule", *(f"n={n}" for n in given.n), "power"]
    lines = [head, ["---"] * len(head)]
    for name in columns[0]:
        cells = [found[name] for found in columns]
        last = [cell for cell in cells if isinstance(cell, float)][-2:]
        power = (
            math.log(last[1] / last[0]) / math.log(given.n[-1] / given.n[-2]) if len(last) == 2 else math.nan
        )
        lines.append(
            [name, *(f"{c:.3f}" if isinstance(c, float) else "refused" for c in cells), f"{power:.1f}"]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Reads the arguments, keeps a core busy where asked, and prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, nargs="+", default=[20, 50, 100, 200])
    parser.add_argument("--d", type=int, default=1_500_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rules", nargs="*")
    parser.add_argument("--busy", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.busy:
        multiprocessing.get_context("spawn").Process(target=spin, daemon=True).start()
    done = table(given)
    print(f"\nd={given.d:,}, {given.threads} threads{', one core busy' if given.busy else ''}\n\n{done}")


if __name__ == "__main__":
    main()
