"""The critical-difference plot: average ranks with their intervals, and bars over rules that cannot be told apart."""

from __future__ import annotations

import html
import io
import re
from typing import Any

import matplotlib
import pandas as pd
import scikit_posthocs
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from hauberk.experiments.report.ranks import Ranking, joined_runs
from hauberk.experiments.report.statistics import ALPHA

# Colours that stand for those of the page, which differ between light and dark.
INK, MUTED, ACCENT = "#010101", "#020202", "#030303"
VARIABLES = {INK: "var(--ink)", MUTED: "var(--muted)", ACCENT: "var(--accent)"}
WIDTH, ROW = 6.4, 0.25  # inches
LABELS_END = 0.85  # the rank at which names end, left of every interval


def rank_figure(ranking: Ranking) -> str:
    """Returns the plot as SVG whose colours are the page's variables; nothing where there are not two rules."""
    if len(ranking.standings) < 2:
        return ""
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "hauberk", "font.family": "sans-serif"}
    ):
        figure = Figure(layout="constrained")
        FigureCanvasSVG(figure)
        n_rows = _draw(figure.subplots(), ranking)
        figure.set_size_inches(WIDTH, ROW * (n_rows + 3))
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_page(text.getvalue(), _alternative(ranking))


def _draw(axes: Any, ranking: Ranking) -> float:
    """Draws the ranking and returns how many rows high it is."""
    ranks = {one.rule: one.rank.mean for one in ranking.standings}
    drawn = scikit_posthocs.critical_difference_diagram(
        ranks,
        _joined(ranking),
        alpha=ALPHA,
        ax=axes,
        left_only=True,
        text_h_margin=min(ranks.values()) - LABELS_END,
        label_fmt_left="{label}  {rank:.1f}",
        label_props={"fontsize": 10},
        marker_props={"color": INK, "s": 22},
        elbow_props={"color": MUTED, "linewidth": 0.8},
        crossbar_props={"color": INK, "linewidth": 2.5, "marker": "o", "markersize": 5},
    )
    for label in drawn["labels"]:
        label.set_color(INK)
        label.set_parse_math(False)  # a name with two "$" is no formula
    heights = {label.get_text().rsplit("  ", 1)[0]: label.get_position()[1] for label in drawn["labels"]}
    for one in ranking.standings:
        if one.rank.has_interval:
            low, high, height = one.rank.low, one.rank.high, heights[one.rule]
            axes.plot(
                [low, high], [height, height], color=ACCENT, linewidth=5, alpha=0.45, solid_capstyle="butt"
            )
            axes.plot([one.rank.mean], [height], "o", color=ACCENT, markersize=5)
    lowest = min(heights.values()) - 0.6
    axes.set_ylim(lowest, 0.3)
    axes.set_xlim(LABELS_END, len(ranks) + 0.15)
    axes.set_xticks(range(1, len(ranks) + 1))
    axes.tick_params(colors=INK, labelsize=9)
    axes.spines["top"].set_color(INK)
    axes.set_title("average rank (1 is best)", fontsize=9, color=MUTED, loc="right", pad=14)
    return -lowest


def _joined(ranking: Ranking) -> pd.DataFrame:
    """Returns a matrix of p values, 1 for two rules of one run and 0 for others, whose cliques are the runs."""
    rules = ranking.tests.p_values.index
    joined = pd.DataFrame(0.0, index=rules, columns=rules)
    for run in joined_runs(ranking.tests.p_values):
        joined.loc[run, run] = 1.0
    return joined


def _for_page(svg: str, alternative: str) -> str:
    """Makes matplotlib's file part of a page: no prologue, no names that other figures have too, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<g) id="[A-Za-z]+(?:2D|Collection)?_\d+"', r"\1", svg)
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{html.escape(alternative)}" ', 1)


def _alternative(ranking: Ranking) -> str:
    return f"Average ranks by {ranking.metric.label} of {len(ranking.standings)} rules"
