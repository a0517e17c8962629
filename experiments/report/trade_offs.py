"""What a rule is worth where nobody lies, beside what its worst attacker gets: the two that a choice weighs."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from hauberk.experiments.report.frames import FINISHED, NO_ATTACK, Frames
from hauberk.experiments.report.metrics import ABOVE_NATURAL
from hauberk.experiments.report.statistics import Estimate, t_estimate
from hauberk.tasks.base import Metric


@dataclass(frozen=True)
class Trade:
    """One rule in one setting.

    Attributes:
        clean: the primary metric where nobody lies, over seeds.
        worst: attack success above natural in the attack where its mean over seeds is highest.
        attack: that attack.
        n_attacks: how many attacks have finished cells: the worst of few flatters.
    """

    rule: str
    needs: str
    clean: Estimate
    worst: Estimate
    attack: str
    n_attacks: int


@dataclass(frozen=True)
class TradeOff:
    """The rules of one setting, those first that let in the most.

    Attributes:
        title: the setting; empty where the grid has one alone.
        metric: the primary one.
        n_attacks: how many attacks the setting has whose success is a number.
    """

    title: str
    metric: Metric
    trades: tuple[Trade, ...]
    n_attacks: int


def trade_offs(frames: Frames) -> list[TradeOff]:
    """Returns the trade-off of each setting in which a rule has finished without an attack and with one."""
    if ABOVE_NATURAL.name not in frames.cells:
        return []
    found = []
    for setting in frames.settings:
        cells = frames.at(setting)
        done = cells[cells["status"] == FINISHED]
        trades = [trade for _, rows in done.groupby("rule") if (trade := _trade(rows, frames.primary))]
        trades.sort(key=lambda one: (-one.worst.mean, one.rule))
        if trades:
            n_attacks = _n_measurable(cells)
            found.append(TradeOff(frames.describe(setting), frames.primary, tuple(trades), n_attacks))
    return found


def _n_measurable(cells: pd.DataFrame) -> int:
    """Returns how many attacks have a success above natural, or may have one once they are finished."""
    attacked = cells[cells["attack"] != NO_ATTACK]
    open_or_measured = (attacked["status"] != FINISHED) | attacked[ABOVE_NATURAL.name].notna()
    return int(attacked.loc[open_or_measured, "attack"].nunique())


def _trade(cells: pd.DataFrame, metric: Metric) -> Trade | None:
    """Returns where one rule stands; None where it has not finished both kinds of cells."""
    clean = cells.loc[cells["attack"] == NO_ATTACK, metric.name].dropna()
    attacked = cells.loc[cells["attack"] != NO_ATTACK, ["attack", ABOVE_NATURAL.name]].dropna()
    if clean.empty or attacked.empty:
        return None
    by_attack = attacked.groupby("attack")[ABOVE_NATURAL.name]
    worst = by_attack.mean().idxmax()
    values = by_attack.get_group(worst).tolist()
    rule, needs = cells[["rule", "needs"]].iloc[0]
    return Trade(rule, needs, t_estimate(clean.tolist()), t_estimate(values), worst, len(by_attack))
