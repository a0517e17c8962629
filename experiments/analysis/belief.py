"""Whom a run's rule believed, round by round, as its records say it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hauberk.experiments.runner.records import read_rounds, read_run
from hauberk.strategies import PRE_AGGREGATORS

SCORE = re.compile(r"(.+)/(?:score|alpha)/(\d+)")
LEAST = 0.01  # of an equal share: a client that counted for less was kept out


@dataclass(frozen=True)
class Judgement:
    """What became of one client in one round.

    Attributes:
        lied: whether it was an attacker, which only a simulation knows.
        weight: how much it counted; None where it was refused, or the rule gives no weights.
        scores: by the rule's name for them.
        rank: its place by the last of the scores, 1 for the most trusted.
        refused: why the guard refused it.
        kept_out: whether it was refused or counted for next to nothing; None where that has no meaning.
    """

    client: int
    lied: bool
    weight: float | None
    scores: dict[str, float]
    rank: int | None
    refused: str | None
    kept_out: bool | None


@dataclass(frozen=True)
class JudgedRound:
    """One round's judgements, by client id."""

    number: int
    clients: dict[int, Judgement]

    @property
    def weighed(self) -> bool:
        """Whether the rule gave weights."""
        return any(one.weight is not None for one in self.clients.values())

    @property
    def liars_weight(self) -> float | None:
        """What the liars counted for together; None where the rule gives no weights."""
        weights = [one.weight for one in self.clients.values() if one.lied and one.weight is not None]
        return sum(weights) if self.weighed else None


@dataclass(frozen=True)
class Detection:
    """How often liars and honest clients were kept out.

    Attributes:
        liars: how many liars were judged.
        caught: how many of them were kept out.
        honest: how many honest clients were judged.
        wronged: how many of them were kept out.
    """

    liars: int
    caught: int
    honest: int
    wronged: int

    @property
    def tpr(self) -> float | None:
        """The true positive rate: the share of the liars that was kept out."""
        return self.caught / self.liars if self.liars else None

    @property
    def fpr(self) -> float | None:
        """The false positive rate: the share of the honest clients that was kept out."""
        return self.wronged / self.honest if self.honest else None


def detection(rounds: Iterable[JudgedRound]) -> Detection:
    """Returns the detection over all judgements of ``rounds``; a round whose rule gave no weights does not count."""
    judged = [one for each in rounds if each.weighed for one in each.clients.values()]
    liars = [one for one in judged if one.lied]
    honest = [one for one in judged if not one.lied]
    return Detection(
        len(liars),
        sum(bool(one.kept_out) for one in liars),
        len(honest),
        sum(bool(one.kept_out) for one in honest),
    )


def judged_rounds(run: Path) -> list[JudgedRound]:
    """Returns the judgements of a finished run; raises UserError if there is none, or it is damaged."""
    tables, _ = read_run(run)
    lines = [line for line in read_rounds(run) if "failed" not in line]
    stages = tables["aggregator"].get("before", ())
    # Buckets are no clients: their scores stand under numbers that are no ids.
    named = all(PRE_AGGREGATORS[stage["name"]].keeps_clients for stage in stages)
    scores = [_scores(line["report"]) if named else {} for line in lines]
    sign = -1 if _high_is_trusted(lines, scores) else 1
    return [_judged(line, found, sign) for line, found in zip(lines, scores, strict=True)]


def _scores(report: Mapping[str, float]) -> dict[str, dict[int, float]]:
    """Returns the scores by their names, then by client; the last is the one that the rule ranks by."""
    found: dict[str, dict[int, float]] = {}
    for key, value in report.items():
        if match := SCORE.fullmatch(key):
            found.setdefault(match[1], {})[int(match[2])] = value
    return found


def _high_is_trusted(lines: Sequence[Mapping[str, Any]], scores: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether high scores go with high weights: a record does not say which way its rule's scores run."""
    total = 0.0
    for line, found in zip(lines, scores, strict=True):
        if found and line["weights"]:
            score, weight = list(found.values())[-1], line["weights"]
            places = {client: place for place, client in enumerate(sorted(score, key=lambda c: score[c]))}
            middle = (len(places) - 1) / 2
            total += sum((place - middle) * weight.get(str(c), 0.0) for c, place in places.items())
    return total > 0


def _judged(line: Mapping[str, Any], scores: Mapping[str, Mapping[int, float]], sign: int) -> JudgedRound:
    ranks = _ranks(list(scores.values())[-1], sign) if scores else {}
    least = LEAST / max(1, len(line["weights"] or ()))
    clients = {}
    for client in line["sampled"]:
        refused = line["refused"].get(str(client))
        weight = (line["weights"] or {}).get(str(client))
        clients[client] = Judgement(
            client,
            client in line["malicious"],
            weight,
            {name: found[client] for name, found in scores.items() if client in found},
            ranks.get(client),
            refused,
            True if refused else None if weight is None else weight < least,
        )
    return JudgedRound(line["round"], clients)


def _ranks(scores: Mapping[int, float], sign: int) -> dict[int, int]:
    return {
        client: 1 + sum(sign * other < sign * own for other in scores.values())
        for client, own in scores.items()
    }
