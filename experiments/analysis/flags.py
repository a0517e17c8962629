"""Whose contributions a finished run's answers do without, where its rule defends while the model answers."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from rich.console import Console

from hauberk.experiments.runner.records import read_run

LEAST = 5e-4  # of the answers: what shows as 0.0 % is not listed


def show_flags(console: Console, run: Path, liars: Set[int] = frozenset(), mark: str = "!") -> None:
    """Prints what the summary of ``run`` knows of it, one line for each client; nothing for a plain model."""
    _, summary = read_run(run)
    for line in flag_lines(summary.get("serving"), liars, mark):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def flag_lines(report: dict[str, Any] | None, liars: Set[int] = frozenset(), mark: str = "!") -> list[str]:
    """Returns lines on the test split: how many answers do without somebody, and without whom, most often first.

    Args:
        report: as `hauberk.server.serving.serving_report` makes it; None or empty for a plain model.
        liars: the ids that are marked, where they are known.
        mark: behind their ids.
    """
    if not report:
        return []
    lines = [f"answers that do without somebody's part: {_shares(report['left_out'])}"]
    rows = sorted(report["by_client"].items(), key=lambda row: -max(row[1].values()))
    for names, shares in rows:
        if max(shares.values()) >= LEAST:
            who = " ".join(f"{one}{mark if int(one) in liars else ''}" for one in names.split("+"))
            lines.append(f"without client {who}: {_shares(shares)}")
    if "worst_success" in report:
        share = 100 * report["worst_success"]
        lines.append(f"attack success that these liars could not exceed, whatever they send: {share:.1f} %")
    lines += [f"answers that no {f} can change: {shares}" for f, shares in _proven(report)]
    cost = f"{report['passes']:.1f} passes and {report['milliseconds']:.2f} ms"
    return [*lines, f"an answer takes {cost}"]


def _proven(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields a number of malicious clients and, by part, the share of answers that so many cannot change."""
    certified = report.get("certified", {})
    for f in sorted({int(f) for shares in certified.values() for f in shares}):
        known = {part: shares.get(str(f), 0.0) for part, shares in certified.items()}
        yield f"{f} malicious client{'s' if f > 1 else ''}", _shares(known)


def _shares(shares: dict[str, float]) -> str:
    return ", ".join(f"{100 * share:.1f} % of {part} test texts" for part, share in shares.items())
