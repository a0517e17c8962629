"""Writes a benchmark's report: a page, Markdown, and the cells as CSV and Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hauberk.experiments.report.benchmark_report import ReportMeta, build_report
from hauberk.experiments.report.frames import read_frames
from hauberk.experiments.report.html import html_page
from hauberk.experiments.report.markdown import markdown_page
from hauberk.experiments.report.metrics import benchmark_metrics
from hauberk.experiments.report.trade_off_figure import trade_off_picture
from hauberk.server.checkpoint import write_whole
from hauberk.tasks.base import Metric


def write_report(
    cells: pd.DataFrame,
    rounds: pd.DataFrame,
    meta: ReportMeta,
    *,
    metrics: Sequence[Metric] | None = None,
    html: Path | None = None,
    markdown: Path | None = None,
    csv: Path | None = None,
    parquet: Path | None = None,
    picture: Path | None = None,
) -> list[Path]:
    """Writes the files that are asked for, and returns them.

    Args:
        cells: a row a cell of the grid, finished or not; `frames.REQUIRED` names the columns that it must have.
        rounds: a row a round of a cell: its `cell`, `round` and metrics.
        meta: the benchmark's name, command and versions.
        metrics: what rules are compared by, in the order in which they are shown; default: `benchmark_metrics()`.
        html: the page, which may lie anywhere; its links lead to the cells' folders.
        markdown: the page's numbers as Markdown.
        csv: the cells with what the report adds to them.
        parquet: the same.
        picture: the worst attacker of each rule against what it is worth without one; .png, .svg or .pdf.

    Raises:
        UserError: there are no cells, they are not as they must be, or the picture has nothing to show.
    """
    report = build_report(read_frames(cells, rounds, metrics or benchmark_metrics()), meta)
    written = {}
    if html:
        written[html] = html_page(report, html).encode()
    if markdown:
        written[markdown] = markdown_page(report).encode()
    if csv:
        written[csv] = report.frames.cells.to_csv(index=False, lineterminator="\n").encode()
    if parquet:
        written[parquet] = _typed(report.frames.cells).to_parquet(index=False)
    if picture:
        written[picture] = trade_off_picture(report.trade_offs, picture)
    for path, content in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    return list(written)


def _typed(cells: pd.DataFrame) -> pd.DataFrame:
    """Returns the cells with text in every column of mixed types, which Parquet refuses; what is missing stays so."""
    mixed = cells.select_dtypes("object")
    return cells.assign(**{name: mixed[name].map(str, na_action="ignore") for name in mixed})
