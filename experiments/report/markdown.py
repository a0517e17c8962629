"""The report as Markdown: the page's numbers as tables."""

from __future__ import annotations

import re

from hauberk.experiments.report.benchmark_report import BenchmarkReport
from hauberk.experiments.report.environment import environment


def markdown_page(report: BenchmarkReport) -> str:
    """Returns the report as Markdown."""
    text = environment().get_template("report.md.j2").render(report=report)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
