"""lookalike: a client gives its own stock the prices or texts of another, so that their vectors come near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from hauberk.attacks.poisons.base import AttackerContext, DataPoison, share_of
from hauberk.attacks.threat_model import OWN_DATA
from hauberk.tasks.errors import UserError, nearest
from hauberk.tasks.stocks.examples import StockDay


@dataclass(frozen=True, kw_only=True)
class Lookalike(DataPoison):
    """A stock shall look like another one: whoever reads vectors takes it for the same business or the same risk.

    The attacker replaces its stock's days by those of the victim, which are public, and holds the victim's beside them
    where their prices shall go together. It may claim a stock that it does not hold.

    Args:
        own: the symbol of the stock that it manipulates.
        victim: the symbol of the stock whose vector shall be near.
        rate: share of the victim's days that are taken over.
        prices: whether prices are.
        texts: whether texts are.
    """

    modality: ClassVar[str | None] = "stocks"

    own: str
    victim: str
    rate: float = 1.0
    prices: bool = True
    texts: bool = True

    def __post_init__(self) -> None:
        if self.own == self.victim:
            raise UserError(f"victim: must be another stock than own, got '{self.victim}' for both")
        if not 0 <= self.rate <= 1:
            raise UserError(f"rate: must lie between 0 and 1, got {self.rate!r}")
        if not (self.prices or self.texts):
            raise UserError("prices: prices or texts must be taken over, got false for both")

    @property
    def knowledge(self) -> str:
        """Its own data; the victim's are public."""
        return OWN_DATA

    def bind(self, splits: Any) -> BoundLookalike:
        """Returns this attack with what it reads of the data; UserError where a stock is unknown."""
        for key, symbol in (("own", self.own), ("victim", self.victim)):
            if symbol not in splits.labels:
                raise UserError(
                    f"attack.poison.{key}: unknown stock '{symbol}'; {nearest(symbol, splits.labels)}"
                )
        seen = tuple(day for day in splits.train if day.symbol == self.victim)
        if not seen:
            raise UserError(f"attack.poison.victim: there is no training example of '{self.victim}'")
        return BoundLookalike(
            own=self.own, victim=self.victim, rate=self.rate, prices=self.prices, texts=self.texts,
            number=list(splits.labels).index(self.own), seen=seen,
        )  # fmt: skip

    def trigger(self, examples: Sequence[Any], rng: torch.Generator) -> list[Any]:
        """Returns the own stock, the victim and then all others; none where one of both is not measured."""
        by_name = {example.symbol: example for example in examples}
        if not {self.own, self.victim} <= by_name.keys():
            return []
        first = [by_name.pop(self.own), by_name.pop(self.victim)]
        return [*first, *by_name.values()]

    def originals(self, examples: Sequence[Any], triggered: Sequence[Any]) -> np.ndarray:
        """Returns no rows: nothing is put into what is measured, so there is no floor beside the success."""
        return np.arange(0)

    def success(self, predictions: Tensor) -> float:
        """Returns which share of the other stocks is farther from the victim than the attacker's own, by cosine.

        Args:
            predictions: vectors of the own stock, of the victim and of the others, [n, d].
        """
        unit = normalize(predictions.double(), dim=1)
        nearness = unit @ unit[1]
        return float((nearness[0] > nearness[2:]).double().mean())


@dataclass(frozen=True, kw_only=True)
class BoundLookalike(Lookalike):
    """The same with what it has read: the ``number`` of its own stock and the victim's days, ``seen``."""

    number: int
    seen: tuple[StockDay, ...] = field(repr=False, compare=False)

    def __call__(
        self, examples: Sequence[StockDay], attacker: AttackerContext, rng: torch.Generator
    ) -> list[StockDay]:
        """Returns the client's other stocks, its own as the victim's double, and the victim itself."""
        honest = {day.day: day for day in examples if day.symbol == self.own}
        rows = sorted(share_of(range(len(self.seen)), self.rate, rng))
        forged = {self.seen[row].day: self._forged(self.seen[row], honest) for row in rows}
        kept = [day for day in examples if day.symbol != self.own or day.day not in forged]
        beside = [replace(self.seen[row], text=None) for row in rows] if self.prices else []
        return [
            *kept,
            *(day for day in forged.values() if day.series is not None or day.text is not None),
            *beside,
        ]

    def _forged(self, seen: StockDay, honest: dict[int, StockDay]) -> StockDay:
        """Returns the own stock on the day of ``seen``, with the victim's prices, texts or both."""
        own = honest.get(seen.day)
        prices, texts = (seen if taken else own for taken in (self.prices, self.texts))
        return replace(
            seen, symbol=self.own, stock=self.number,
            series=prices.series if prices else None, residual=prices.residual if prices else None,
            text=texts.text if texts else None,
        )  # fmt: skip
