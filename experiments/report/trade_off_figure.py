"""The trade-off as a picture: each rule's worst attacker against what the rule is worth where nobody lies."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from hauberk.experiments.report.figures import figure as written
from hauberk.experiments.report.metrics import ABOVE_NATURAL
from hauberk.experiments.report.page_svg import ACCENT, INK, MUTED, page_figure, page_svg
from hauberk.experiments.report.statistics import Estimate
from hauberk.experiments.report.trade_offs import Trade, TradeOff
from hauberk.tasks.errors import UserError

PAGE = (INK, MUTED, ACCENT)
PRINT = ("#17202a", "#5b6672", "#1b6ca8")
SHAPES = "osD^vP*X"
FORMATS = (".png", ".svg", ".pdf")
WIDTH, HEIGHT, LINE = 7.2, 2.6, 0.2  # inches: of a panel with its labels, of the shortest one, of a label
LABELS = 1.04  # where labels begin, in widths of the axes


def trade_off_svg(trade_off: TradeOff) -> str:
    """Returns one setting's picture as SVG whose colours are the page's variables."""
    with page_figure() as figure:
        figure.set_size_inches(*_size([trade_off]))
        _draw(figure.subplots(), trade_off, PAGE)
        return page_svg(
            figure,
            f"The worst attacker of {len(trade_off.trades)} rules against their {trade_off.metric.label}",
        )


def trade_off_picture(trade_offs: Sequence[TradeOff], path: Path) -> bytes:
    """Returns all settings' pictures, one below the other, in the format that ``path`` names.

    Raises:
        UserError: there is nothing to draw, or the format is unknown.
    """
    if path.suffix not in FORMATS:
        raise UserError(f"report --figure: the file must end in {', '.join(FORMATS)}, got '{path}'")
    if not trade_offs:
        raise UserError(
            "report --figure: no rule has finished a cell without attack and one whose success above natural is known"
        )
    figure = Figure(figsize=_size(trade_offs), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, one in zip(figure.subplots(len(trade_offs), squeeze=False)[:, 0], trade_offs, strict=True):
        _draw(axes, one, PRINT)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=144)
    return content.getvalue()


def _size(trade_offs: Sequence[TradeOff]) -> tuple[float, float]:
    return WIDTH, sum(max(HEIGHT, LINE * (len(one.trades) + 3)) for one in trade_offs)


def _draw(axes: Any, trade_off: TradeOff, colours: tuple[str, str, str]) -> None:
    ink, muted, accent = colours
    trades, metric = trade_off.trades, trade_off.metric
    needs = list(dict.fromkeys(one.needs for one in trades))
    for one in trades:
        axes.plot(*_span(one.clean, one.worst.mean), color=accent, alpha=0.3, linewidth=2)
        axes.plot(*_span(one.worst, one.clean.mean)[::-1], color=accent, alpha=0.3, linewidth=2)
        shape = SHAPES[needs.index(one.needs) % len(SHAPES)]
        axes.plot(one.clean.mean, one.worst.mean, shape, color=accent, markersize=6)
    axes.axhline(0, color=muted, linewidth=0.8, linestyle="--")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, -0.05), max(high, 0.1))
    _label(axes, trade_off, ink, muted)
    for place, name in enumerate(needs):
        before = "" if place else "server needs: "
        axes.plot([], [], SHAPES[place % len(SHAPES)], color=accent, label=f"{before}{name}")
    axes.legend(
        fontsize=7, labelcolor=muted, frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1), ncols=8
    )
    axes.set_title(trade_off.title, fontsize=10, color=ink, loc="left", pad=26).set_parse_math(False)
    direction = "right" if metric.higher_is_better else "left"
    axes.set_xlabel(f"{metric.label} where nobody lies ({direction} is better)", fontsize=9, color=ink)
    axes.set_ylabel("worst attacker:\nsuccess above natural\n(down is better)", fontsize=9, color=ink)
    _axis_style(axes, metric.is_share, muted)


def _axis_style(axes: Any, is_share: bool, muted: str) -> None:
    axes.tick_params(colors=muted, labelsize=8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    if is_share:
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.1f} %")
    axes.locator_params(axis="x", nbins=5)
    for spine in axes.spines.values():
        spine.set_color(muted)
        spine.set_linewidth(0.6)


def _label(axes: Any, trade_off: TradeOff, ink: str, muted: str) -> None:
    """Writes the rules at the right, evenly, in the order of their points' heights, each with a line to its point."""
    low, high = axes.get_ylim()
    wanted = [(one.worst.mean - low) / (high - low) for one in trade_off.trades]
    gap = 1.05 / max(len(wanted), 8)
    for one, height in zip(trade_off.trades, spread(wanted, gap), strict=True):
        note = axes.annotate(
            label(one, trade_off), (one.clean.mean, one.worst.mean), (LABELS, height),
            textcoords="axes fraction", va="center", fontsize=8, color=ink, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": muted, "linewidth": 0.5, "relpos": (0, 0.5), "shrinkB": 4},
        )  # fmt: skip
        note.set_parse_math(False)


def label(trade: Trade, trade_off: TradeOff) -> str:
    """Returns a rule's name, its two figures and its worst attack."""
    figures = f"{written(trade.worst.mean, ABOVE_NATURAL)} by {trade.attack}"
    few = "" if trade.n_attacks == trade_off.n_attacks else f" (of {trade.n_attacks})"
    return f"{trade.rule}  {written(trade.clean.mean, trade_off.metric)} | {figures}{few}"


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Returns heights, given from the top down, moved until neighbours are ``gap`` apart and all lie in [0, 1].

    Where 1 / gap is less than their number they begin at 1 and go below 0.
    """
    placed: list[float] = []
    for height in heights:
        placed.append(min(height, placed[-1] - gap) if placed else min(height, 1.0))
    low = 0.0
    for place in reversed(range(len(placed))):
        placed[place] = max(placed[place], low)
        low = placed[place] + gap
    over = max(0.0, placed[0] - 1.0) if placed else 0.0
    return [height - over for height in placed]


def _span(one: Estimate, other: float) -> tuple[list[float], list[float]]:
    """Returns the ends of an interval, and the other coordinate of both; nothing to see where there is no interval."""
    ends = [one.low, one.high] if one.has_interval else [one.mean, one.mean]
    return ends, [other, other]
