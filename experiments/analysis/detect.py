"""How well detectors tell triggered texts from clean ones on a finished run's model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hauberk.experiments.runner.finished import Finished, read_finished
from hauberk.experiments.runner.records import read_run
from hauberk.experiments.spec.components import Component, build, normalise, numbered
from hauberk.experiments.spec.overrides import changed
from hauberk.server.detection.scoring import RATES, Report, score_detectors
from hauberk.server.detectors import DETECTORS, Detector
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example

Named = str | Mapping[str, Any] | Detector


def detect_run(run_folder: str | Path, detectors: Sequence[Named]) -> dict[str, Report]:
    """Scores detectors on a finished run's model, clean examples, test split and trigger.

    Args:
        run_folder: the run.
        detectors: names, which stand for their defaults, tables with a ``name``, or detectors; `asked` returns those
            of the run's own spec.

    Returns:
        A report for each, as ``score_detectors`` makes them; a name that comes again is numbered.

    Raises:
        UserError: there is no such run, it has no clean examples, or a detector cannot be fitted.
    """
    built = named(detectors)
    return scored(read_finished(run_folder), built)


def scored(run: Finished, detectors: Mapping[str, Detector]) -> dict[str, Report]:
    """Returns a report for each of ``detectors`` on a finished run."""
    test, triggered = list(run.prepared.test), run.triggered()
    return score_detectors(detectors, run.view, needed_clean(run), test, triggered, run.target, run.spec.seed)


def needed_clean(run: Finished) -> tuple[Example, ...]:
    """Returns the server's own clean examples; raises UserError if the run had none."""
    if not run.clean:
        raise UserError(
            "server.clean.n_examples: a detector needs at least 2 clean examples of the server's own, this run has 0"
        )
    return run.clean


def asked(run_folder: str | Path, names: Sequence[str], changes: Sequence[str] = ()) -> list[Component]:
    """Returns the detectors of these names as tables: as a finished run's spec has them, otherwise with their defaults.

    Args:
        run_folder: the run.
        names: those of the table; where the spec has one twice, the second is "dan#2".
        changes: ``name.key=value`` for what shall be otherwise.

    Raises:
        UserError: there is no such run, or a change is for a detector that is not among ``names``.
    """
    tables, _ = read_run(run_folder)
    own = numbered((one["name"], one) for one in tables.get("detectors", []))
    return list(
        changed({name: own.get(name, {"name": name}) for name in names}, changes, "detectors").values()
    )


def named(detectors: Sequence[Named]) -> dict[str, Detector]:
    """Returns the detectors by name; one that comes again is numbered."""
    return numbered(map(_built, detectors))


def _built(detector: Named) -> tuple[str, Detector]:
    if isinstance(detector, Detector):
        names = {cls: name for name, cls in DETECTORS.items()}
        return names.get(type(detector), type(detector).__name__), detector
    try:
        component = normalise(detector, DETECTORS)
    except UserError:
        raise
    except ValueError as error:
        raise UserError("\n".join(f"detectors.{line}" for line in str(error).splitlines())) from None
    return component["name"], build(component, DETECTORS)


def show_detect(console: Console, reports: Mapping[str, Report], *, as_json: bool) -> None:
    """Shows the reports of detectors as tables or as JSON."""
    if as_json:
        console.print_json(json.dumps(reports))
        return
    first, second = (Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)) for _ in range(2))
    for heading in ("detector", "protects", "AUROC", "clean", "triggered", "passes", "ms"):
        first.add_column(heading, justify="left" if heading in ("detector", "protects") else "right")
    for heading in ("rejecting clean texts at most", *RATES):
        second.add_column(heading, justify="right" if heading in RATES else "left")
    for name, report in reports.items():
        n = [str(report["n"].get(side, "-")) for side in ("clean", "triggered")]
        costs = [_figure(report["passes"], 1), _figure(report["milliseconds"], 2)]
        first.add_row(name, escape(str(report["protected"])), _figure(report["auroc"]), *n, *costs)
        second.add_row(f"{name}: triggered texts accepted", *(_figure(report["far"][rate]) for rate in RATES))
        second.add_row(f"{name}: clean texts rejected", *(_figure(report["frr"][rate]) for rate in RATES))
    console.print(first, second, highlight=False)
    for name, report in reports.items():
        lines = [*(f"no {key}: {why}" for key, why in report["reasons"].items()), *report["notes"]]
        for line in lines:
            console.print(f"{name}: {escape(line)}", highlight=False, soft_wrap=True)


def _figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
