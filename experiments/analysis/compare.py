"""What one model answers otherwise than another, text by text, and how many of their numbers differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from hauberk.experiments.runner.finished import Finished, read_finished
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.consistency import consistency

SideEffects = dict[str, Any]
SHARES = {
    "correlation": "correlation of scores",
    "agreement": "correlation of right and wrong",
    "spoilt": "texts right there, wrong here",
    "mended": "texts wrong there, right here",
}
LABELS = (*SHARES.values(), "changed parameters", "of")


def side_effects(before: Finished, after: Finished) -> SideEffects:
    """Compares the final models of two runs on the first one's test split.

    Returns:
        ``correlation`` (Pearson's, of the probabilities of the true classes), ``agreement`` (of right and wrong),
        ``spoilt`` and ``mended`` (shares of the texts), and ``changed`` and ``parameters``, counts: None where the two
        models have not the same tensors.

    Raises:
        UserError: if the runs have other classes or another test split.
    """
    for run in (before, after):
        if run.prepared.task.modality != "text":
            raise UserError(
                "compare: answers can be compared one by one where texts are classified, "
                f"and this run learns {run.spec.task.name}"
            )
    if before.prepared.labels != after.prepared.labels or not _same_texts(before, after):
        raise UserError("compare: two runs' answers can be compared only on the same classes and test split")
    clean: Any = before.prepared.server.evaluate.clean
    logits = [run.logits(run.prepared.test) for run in (before, after)]
    found: SideEffects = asdict(consistency(logits[0], logits[1], clean.labels))
    same = before.prepared.server.layout.digest() == after.prepared.server.layout.digest()
    found["changed"] = int((before.parameters != after.parameters).sum()) if same else None
    found["parameters"] = len(before.parameters) if same else None
    return found


def show_side_effects(console: Console, folders: Sequence[Path]) -> None:
    """Shows how the models of all runs but the first differ from the first one's, or why that cannot be said."""
    first, *others = folders
    try:
        before = read_finished(first)
    except UserError as error:
        _explain(console, first, error)
        return
    found = [_compared(before, folder) for folder in others]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(f"beside {first}", no_wrap=True)
    for folder in others:
        table.add_column(str(folder), overflow="fold", justify="right")
    for label, *cells in zip(LABELS, *map(_column, found), strict=True):
        table.add_row(label, *cells)
    console.print(table, highlight=False)
    for folder, each in zip(others, found, strict=True):
        if isinstance(each, UserError):
            _explain(console, folder, each)


def _compared(before: Finished, folder: Path) -> SideEffects | UserError:
    """Returns the side effects or why there are none: one run must not cost the others their columns."""
    try:
        return side_effects(before, read_finished(folder))
    except UserError as error:
        return error


def _explain(console: Console, folder: Path, error: UserError) -> None:
    console.print(f"{folder}: {error}", highlight=False, soft_wrap=True, markup=False)


def _column(found: SideEffects | UserError) -> list[str]:
    if isinstance(found, UserError):
        return ["-"] * len(LABELS)
    counts = ("changed", "parameters")
    shown = ["another model" if found[key] is None else f"{found[key]:,}" for key in counts]
    return [*(f"{found[key]:.3f}" for key in SHARES), *shown]


def _same_texts(before: Finished, after: Finished) -> bool:
    texts = [[(one.text, one.second, one.label) for one in run.prepared.test] for run in (before, after)]
    return texts[0] == texts[1]
