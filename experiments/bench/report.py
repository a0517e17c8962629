"""What ``hauberk report`` does: a benchmark's folder becomes a page, Markdown and tables."""

from __future__ import annotations

from pathlib import Path

from hauberk.experiments.bench.frame import cells_frame, rounds_frame
from hauberk.experiments.bench.results import Results, read_results
from hauberk.experiments.report.benchmark_report import ReportMeta
from hauberk.experiments.report.metrics import benchmark_metrics
from hauberk.experiments.report.write import write_report
from hauberk.tasks import DEFAULT_TASK


def report_benchmark(
    folder: Path,
    *,
    html: Path | None = None,
    markdown: Path | None = None,
    csv: Path | None = None,
    parquet: Path | None = None,
    picture: Path | None = None,
) -> list[Path]:
    """Writes the files that are asked for, or a page and Markdown beside the cells, and returns them.

    Raises:
        UserError: there is no benchmark in ``folder``, or nothing of it is finished yet.
    """
    if not any((html, markdown, csv, parquet, picture)):
        html, markdown = folder / "report.html", folder / "report.md"
    results = read_results(folder)
    inside = html is not None and html.resolve().is_relative_to(folder.resolve())
    meta = ReportMeta(
        name=results.name,
        command=results.command or f"hauberk bench GRID --out {folder}",
        versions=versions_of(results),
        notes=(results.about,) if results.about else (),
        root=folder if inside else None,  # a page elsewhere travels without the cells
    )
    return write_report(
        cells_frame(results),
        rounds_frame(results),
        meta,
        metrics=benchmark_metrics(results.cells[0].tables["task"].get("name", DEFAULT_TASK)),
        html=html,
        markdown=markdown,
        csv=csv,
        parquet=parquet,
        picture=picture,
    )


def versions_of(results: Results) -> dict[str, str]:
    """Returns the versions that the finished cells depend on, by package; several where the cells differ."""
    found: dict[str, set[str]] = {}
    for cell in results.cells:
        for name, version in results.outcome(cell)[2].get("versions", {}).items():
            found.setdefault(name, set()).add(version)
    return {name: " and ".join(sorted(known)) for name, known in found.items()}
