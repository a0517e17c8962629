"""The report as one page that needs no network: figures as SVG, the table's JavaScript from the itables package."""

from __future__ import annotations

import base64
import gzip
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from hauberk.experiments.report.benchmark_report import BenchmarkReport
from hauberk.experiments.report.cell_table import cell_table
from hauberk.experiments.report.environment import environment
from hauberk.experiments.report.rank_figure import rank_figure
from hauberk.experiments.report.trade_off_figure import trade_off_svg


def html_page(report: BenchmarkReport, page: Path) -> str:
    """Returns the page that will lie at ``page``, from whose folder its links start."""
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            table=cell_table(report, page),
            rank_figure=lambda ranking: Markup(rank_figure(ranking)),
            trade_off_figure=lambda trade_off: Markup(trade_off_svg(trade_off)),
            table_css=_style(),
            table_js=_packed_script(),
        )
    )


def _style() -> Markup:
    text = _bundled("dt_bundle.css").decode()
    if "</style" in text.lower():
        raise ValueError("itables' dt_bundle.css ends the element that it is put into.")
    return Markup(text)


def _packed_script() -> str:
    """DataTables packed by gzip, which the page unpacks: a third of the size, which leaves room for results."""
    return base64.b64encode(gzip.compress(_bundled("dt_bundle.js"), mtime=0)).decode()


def _bundled(name: str) -> bytes:
    """Returns a file of DataTables as itables ships it."""
    return (files("itables") / "html" / name).read_bytes()
