"""The pictures of `hauberk why`: a map of whom each round believed, and what decided about one client."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hauberk.experiments.analysis.belief import JudgedRound, Judgement, detection
from hauberk.experiments.analysis.deciding import TensorShare, TokenMove
from hauberk.experiments.report.plots import BLUE, RED

GREY, PALE = "#8a8a8a", "#eeeeee"
MOST_TEXTS = 400  # cells of the map that have room for a rank


def draw_beliefs(path: Path, rounds: Sequence[JudgedRound], title: str) -> None:
    """Draws clients by rounds, each cell as blue as the client counted, and below how well liars were told."""
    clients = sorted({client for each in rounds for client in each.clients})
    height = min(12.0, 0.9 + 0.3 * len(clients))
    width = max(6.4, min(16.0, 2.6 + 0.42 * len(rounds)))
    figure = _figure(width, height + 2.6)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=[height, 1.7])
    texts = len(rounds) * len(clients) <= MOST_TEXTS
    _draw_map(top, rounds, clients, texts=texts)
    top.set_title(title, fontsize=10)
    _draw_detection(below, rounds)
    below.set_xlabel("round")
    below.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = below.get_legend_handles_labels()
    own, names = _legend(rounds, clients, texts=texts)
    figure.legend(
        [*own, *handles], [*names, *labels], loc="outside lower center", ncols=2 if width < 9 else 4,
        frameon=False, fontsize=8,
    )  # fmt: skip
    figure.savefig(path, dpi=144)


def draw_deciding(path: Path, shares: Sequence[TensorShare], moves: Sequence[TokenMove], title: str) -> None:
    """Draws each tensor's part in a client's distance from the round, and how far it moved single tokens."""
    figure = _figure(10.5 if moves else 6.0, 1.3 + 0.32 * max(len(shares), len(moves), 4))
    axes = figure.subplots(1, 2 if moves else 1, squeeze=False)[0]
    figure.suptitle(title, fontsize=10)
    places = [-place for place in range(len(shares))]
    bars = {
        "of the squared distance from the round": (0.2, [one.share for one in shares], BLUE),
        "of the 0.1 % largest differences": (-0.2, [one.strongest for one in shares], GREY),
    }
    for label, (shift, values, colour) in bars.items():
        axes[0].barh([place + shift for place in places], values, 0.38, color=colour, label=label)
    axes[0].set_yticks(places, [one.name for one in shares], fontsize=8)
    axes[0].set(title="the tensors in which it differs", xlabel="share", xlim=(0, 1))
    axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    if moves:
        _draw_moves(axes[1], moves)
    for axis in axes:
        _tidy(axis)
    figure.savefig(path, dpi=144)


def _draw_moves(axis: Any, moves: Sequence[TokenMove]) -> None:
    places = [-place for place in range(len(moves))]
    colours = [RED if one.in_trigger else BLUE for one in moves]
    axis.barh(places, [one.own for one in moves], 0.7, color=colours)
    axis.plot([one.median for one in moves], places, "D", color="black", ms=4, label="the others' median")
    if any(one.in_trigger for one in moves):
        axis.barh([places[0]], [0], color=RED, label="a token of the trigger")
    axis.barh([places[0]], [0], color=BLUE, label="another token")
    axis.set_yticks(places, [f"{one.place}. {one.token}".replace("$", r"\$") for one in moves], fontsize=8)
    for label, one in zip(axis.get_yticklabels(), moves, strict=True):
        label.set_color(RED if one.in_trigger else "black")
    axis.set(
        title="the tokens in which it differs most", xlabel="how far this client moved the token's vector"
    )
    axis.legend(frameon=False, fontsize=8, loc="lower right")


def _draw_map(axis: Any, rounds: Sequence[JudgedRound], clients: Sequence[int], *, texts: bool) -> None:
    from matplotlib.patches import Rectangle

    for each in rounds:
        n_weighed = sum(one.weight is not None for one in each.clients.values())
        for one in each.clients.values():
            x, y = each.number, clients.index(one.client)
            shade = _shade(one, n_weighed)
            edge, order = (RED, 3) if one.lied else ("white", 2)
            cell = Rectangle((x - 0.46, y - 0.42), 0.92, 0.84, facecolor=shade, edgecolor=edge, lw=1.6)
            axis.add_patch(cell).set_zorder(order)
            if texts:
                white = one.weight is not None and not one.kept_out
                text, colour = "×" if one.refused else str(one.rank or ""), "white" if white else "#444444"
                axis.text(x, y, text, ha="center", va="center", fontsize=7, color=colour, zorder=4)
    numbers = [each.number for each in rounds]
    axis.set(xlim=(min(numbers) - 0.6, max(numbers) + 0.6), ylim=(len(clients) - 0.4, -0.6), ylabel="client")
    every = max(1, len(clients) // 40)
    axis.set_yticks(range(0, len(clients), every), clients[::every], fontsize=8)
    for side in axis.spines.values():
        side.set_visible(False)


def _shade(one: Judgement, n_weighed: int) -> Any:
    """Returns a cell's colour: pale where it counted for nothing, the bluer the more it counted."""
    from matplotlib.colors import to_rgb

    if one.weight is None or one.kept_out:
        return PALE
    depth = 0.45 + 0.55 * min(1.0, one.weight * n_weighed / 2)  # twice an equal share is as blue as it gets
    return tuple(1 - depth * (1 - channel) for channel in to_rgb(BLUE))


def _draw_detection(axis: Any, rounds: Sequence[JudgedRound]) -> None:
    numbers = [each.number for each in rounds]
    found = [detection([each]) for each in rounds]
    curves = {
        "liars kept out (TPR)": ([one.tpr for one in found], "o-", RED),
        "honest clients kept out (FPR)": ([one.fpr for one in found], "s--", BLUE),
        "the liars' weight": ([each.liars_weight for each in rounds], ":", "black"),
    }
    for label, (values, style, colour) in curves.items():
        known = [(number, value) for number, value in zip(numbers, values, strict=True) if value is not None]
        if known:
            axis.plot(*zip(*known, strict=True), style, color=colour, ms=4, label=label)
    axis.set(ylim=(-0.05, 1.05), ylabel="share")
    _tidy(axis)


def _legend(
    rounds: Sequence[JudgedRound], clients: Sequence[int], *, texts: bool
) -> tuple[list[Any], list[str]]:
    from matplotlib.patches import Patch

    ones = [one for each in rounds for one in each.clients.values()]
    found: dict[str, Any] = {}
    if any(each.weighed for each in rounds):
        found["believed, the bluer the more"] = Patch(facecolor=BLUE)
        found["kept out"] = Patch(facecolor=PALE, edgecolor=GREY)
    else:
        found["asked; the rule gives no weights"] = Patch(facecolor=PALE, edgecolor=GREY)
    if any(one.lied for one in ones):
        found["red frame: lies"] = Patch(facecolor="white", edgecolor=RED, lw=1.6)
    notes = {
        "number: rank": texts and any(one.rank for one in ones),
        "×: refused": texts and any(one.refused for one in ones),
        "blank: not asked": len(ones) < len(rounds) * len(clients),
    }
    if any(notes.values()):
        text = ", ".join(note for note, holds in notes.items() if holds)
        found[text] = Patch(facecolor="none", edgecolor="none")
    return list(found.values()), list(found)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _tidy(axis: Any) -> None:
    axis.set_axisbelow(True)
    axis.grid(alpha=0.25)
    axis.tick_params(labelsize=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
