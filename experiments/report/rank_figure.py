"""The critical-difference plot: average ranks with their intervals, and bars over rules that cannot be told apart."""

from __future__ import annotations

from typing import Any

import pandas as pd
import scikit_posthocs

from hauberk.experiments.report.page_svg import ACCENT, INK, MUTED, page_figure, page_svg
from hauberk.experiments.report.ranks import Ranking, joined_runs
from hauberk.experiments.report.statistics import ALPHA

WIDTH, ROW = 6.4, 0.25  # inches
LABELS_END = 0.85  # the rank at which names end, left of every interval


def rank_figure(ranking: Ranking) -> str:
    """Returns the plot as SVG whose colours are the page's variables; nothing where there are not two rules."""
    if len(ranking.standings) < 2:
        return ""
    with page_figure() as figure:
        n_rows = _draw(figure.subplots(), ranking)
        figure.set_size_inches(WIDTH, ROW * (n_rows + 3))
        return page_svg(figure, _alternative(ranking))


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


def _alternative(ranking: Ranking) -> str:
    return f"Average ranks by {ranking.metric.label} of {len(ranking.standings)} rules"
