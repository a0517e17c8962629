"""Average ranks of the rules that share a threat model: what the server needs and what the attacker knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from string import ascii_letters

import pandas as pd

from hauberk.experiments.report.comparison import PairedTests, compare_rules, mean_by_scenario
from hauberk.experiments.report.frames import FINISHED, NO_ATTACK, NOBODY_LIES, Frames
from hauberk.experiments.report.statistics import ALPHA, Estimate, bootstrap_estimate, t_estimate
from hauberk.tasks.base import Metric

MIN_SCENARIOS = 6  # below, intervals are resampled from pairs of scenario and seed


@dataclass(frozen=True)
class Standing:
    """How one rule stands among those of its label.

    Attributes:
        rank: its average rank, 1 the best, with a bootstrap interval.
        score: its mean over attacks and settings, with a bootstrap interval.
        worst: its mean over seeds in the scenario where it does worst, with a t interval.
        worst_where: that scenario.
        letters: rules that share a letter cannot be told apart; see `joined_runs`.
    """

    rule: str
    rank: Estimate
    score: Estimate
    worst: Estimate
    worst_where: str
    letters: str


@dataclass(frozen=True)
class Ranking:
    """The rules of one label by one metric, the best first.

    Attributes:
        left_out: rules that have finished too little to be ranked, with the reason.
        unit: of what intervals of means and ranks are resampled, with their number.
    """

    metric: Metric
    standings: tuple[Standing, ...]
    left_out: dict[str, str]
    tests: PairedTests
    unit: str


@dataclass(frozen=True)
class Board:
    """The rankings, a metric each, of the rules that need the same against attackers that know the same."""

    needs: str
    knowledge: str
    rankings: tuple[Ranking, ...]

    @property
    def title(self) -> str:
        """The threat model in one line."""
        attacker = self.knowledge if self.knowledge == NOBODY_LIES else f"attacker knows: {self.knowledge}"
        return f"server needs: {self.needs}; {attacker}"


def boards(frames: Frames) -> list[Board]:
    """Returns the rankings of each threat model in the grid's order, "nobody lies" last."""
    labels = frames.cells[["knowledge", "needs"]].drop_duplicates().itertuples(index=False, name=None)
    ordered = sorted(labels, key=lambda label: label[0] == NOBODY_LIES)
    found = [Board(needs, knowledge, _rankings(frames, needs, knowledge)) for knowledge, needs in ordered]
    return [board for board in found if board.rankings]


def rank_rules(scores: pd.DataFrame, metric: Metric) -> Ranking | None:
    """Returns the ranking of the columns of ``scores``; None where nothing is finished.

    A rule that has finished less than half of the rows is left out; the others are compared on the rows that they
    all have.

    Args:
        scores: a column a rule, a row a pair of scenario and seed, "seed" the last level of the index.
        metric: what the scores are.
    """
    finished = scores.notna().sum()
    left_out = {
        rule: f"finished {count} of {len(scores)} cells: not ranked"
        for rule, count in finished.items()
        if 2 * count < len(scores)
    }
    common = scores.drop(columns=list(left_out)).dropna()
    if common.empty or common.columns.empty:
        return None
    return _ranking(common, metric, left_out)


def _ranking(scores: pd.DataFrame, metric: Metric, left_out: dict[str, str]) -> Ranking:
    by_scenario = mean_by_scenario(scores)
    units, unit = by_scenario, "scenarios"
    if len(by_scenario) < MIN_SCENARIOS:
        units, unit = scores, "pairs of scenario and seed"
    ranks = units.rank(axis=1, ascending=not metric.higher_is_better)
    tests = compare_rules(scores)
    order = ranks.mean().sort_values(kind="stable").index
    tests = replace(tests, p_values=tests.p_values.loc[order, order])
    letters = _letters(joined_runs(tests.p_values))
    standings = [
        Standing(
            rule,
            bootstrap_estimate(ranks[rule]),
            bootstrap_estimate(units[rule]),
            *_worst(scores[rule], metric),
            letters[rule],
        )
        for rule in order
    ]
    return Ranking(metric, tuple(standings), left_out, tests, f"{len(units)} {unit}")


def _rankings(frames: Frames, needs: str, knowledge: str) -> tuple[Ranking, ...]:
    cells = frames.cells
    cells = cells[(cells["needs"] == needs) & (cells["knowledge"] == knowledge)]
    found = [rank_rules(_scores(cells, metric, frames.facets), metric) for metric in frames.metrics]
    return tuple(ranking for ranking in found if ranking is not None)


def _scores(cells: pd.DataFrame, metric: Metric, facets: tuple[str, ...]) -> pd.DataFrame:
    values = cells.assign(value=cells[metric.name].where(cells["status"] == FINISHED))
    index = ["attack", *facets, "seed"]
    return values.pivot(index=index, columns="rule", values="value")[list(dict.fromkeys(cells["rule"]))]


def _worst(scores: pd.Series, metric: Metric) -> tuple[Estimate, str]:
    by_scenario = mean_by_scenario(scores.to_frame("score"))["score"]
    where = by_scenario.idxmin() if metric.higher_is_better else by_scenario.idxmax()
    names = where if isinstance(where, tuple) else (where,)
    there = scores.xs(names, level=list(by_scenario.index.names))
    return t_estimate(there.to_numpy()), " · ".join(str(name) for name in names if name != NO_ATTACK)


def joined_runs(p_values: pd.DataFrame) -> list[list[str]]:
    """Returns the longest runs of rules, in the order of the rows, in which no two can be told apart.

    Sets of rules that do not lie side by side would be more exact, and with thirty rules over a hundred.
    """
    alike = p_values.to_numpy() >= ALPHA
    ends = [0]
    for start in range(len(alike)):
        end = max(ends[-1], start + 1)
        while end < len(alike) and alike[start : end + 1, start : end + 1].all():
            end += 1
        ends.append(end)
    runs = [(start, end) for start, end in enumerate(ends[1:]) if end > ends[start]]
    return [list(p_values.index[start:end]) for start, end in runs]


def _letters(runs: list[list[str]]) -> dict[str, str]:
    """Letters a, b, ... for the runs, the best one's first."""
    names = [letter + (str(turn) if turn else "") for turn in range(9) for letter in ascii_letters]
    letters: dict[str, str] = {}
    for name, run in zip(names, runs, strict=False):
        for rule in run:
            letters[rule] = letters.get(rule, "") + name
    return letters
