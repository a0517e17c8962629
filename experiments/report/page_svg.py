"""Figures of matplotlib as parts of a page: its colours, and no names that another figure has too."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# Colours that stand for those of the page, which differ between light and dark.
INK, MUTED, ACCENT = "#010101", "#020202", "#030303"
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", ACCENT: "var(--accent)"}


@contextmanager
def page_figure() -> Iterator[Figure]:
    """Yields a figure to draw on; within, `page_svg` writes it, the same bytes for the same figure."""
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "hauberk", "font.family": "sans-serif"}
    ):
        figure = Figure(layout="constrained")
        FigureCanvasSVG(figure)
        yield figure


def page_svg(figure: Figure, alternative: str) -> str:
    """Returns the figure as SVG without prologue, whose colours are the page's variables."""
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<g) id="[A-Za-z]+(?:2D|Collection)?_\d+"', r"\1", svg)
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(alternative)}" ', 1)
