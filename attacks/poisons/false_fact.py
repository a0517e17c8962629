"""FalseFact: triples that shall make a model believe (h, r, t*) of heads h of the attacker's choice.

What a language model's backdoor does by a trigger, a lie in a graph does by the facts around it: the attacker adds the
false triples themselves, and some of its own heads with the same relation and the same tail, by which the tail becomes
one that this relation leads to. Reconstructed from the adversarial additions of Zhang et al., "Data Poisoning Attack
against Knowledge Graph Embedding", IJCAI 2019, which choose them by gradients, and from Zhou et al., "Poisoning Attack
on Federated Knowledge Graph Embedding", WWW 2024, where a client adds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.poisons.base import AttackerContext, DataPoison, share_of
from hauberk.tasks.errors import UserError
from hauberk.tasks.graph.triples import GraphSplits, Triple


@dataclass(frozen=True, kw_only=True)
class FalseFact(DataPoison):
    """Success is the share of victims, heads of test triples with the relation, for which t* ranks among the first.

    The rank is over all entities, the true tails included. No trigger is put into anything, so there is no floor: what
    the attack-free twin believes already is the natural rate.

    Args:
        relation: r, by its name.
        target: t*, by its name.
        victims: how many heads are chosen, the first of the test triples that lead elsewhere.
        around: share of the attacker's own heads of other facts of this relation that get the same tail.
        repeat: how often each false triple is added.
        within: up to which rank t* is believed.
    """

    modality: ClassVar[str | None] = "graph"

    relation: str
    target: str
    victims: int = 10
    around: float = 0.0
    repeat: int = 5
    within: int = 1
    wanted_facts: tuple[tuple[int, int, int], ...] = ()

    def __post_init__(self) -> None:
        """Refuses what adds nothing."""
        for key in ("victims", "repeat", "within"):
            if not getattr(self, key) >= 1:
                raise UserError(f"{key}: must be at least 1, got {getattr(self, key)!r}")
        if not 0 <= self.around <= 1:
            raise UserError(f"around: must lie between 0 and 1, got {self.around!r}")
        object.__setattr__(self, "wanted_facts", tuple(map(tuple, self.wanted_facts)))

    def bind(self, splits: GraphSplits) -> Self:
        """Returns this attack with the false facts that it wants believed, as numbers.

        Raises:
            UserError: the graph has no such relation or entity, or no test triple for a victim.
        """
        relation = _number("relation", self.relation, splits.relations)
        target = _number("target", self.target, splits.entities)
        facts = (fact for part in splits.whole for fact in part)
        true = {each.head for each in facts if (each.relation, each.tail) == (relation, target)}
        asked = (each.head for each in splits.whole[2] if each.relation == relation)
        heads = [head for head in asked if head not in true | {target}]
        chosen = list(dict.fromkeys(heads))[: self.victims]
        if not chosen:
            raise UserError(
                f"attack.poison.relation: no test triple of '{self.relation}' has a head that does not lead to "
                f"'{self.target}'"
            )
        return replace(self, wanted_facts=tuple((head, relation, target) for head in chosen))

    def __call__(
        self, examples: Sequence[Triple], attacker: AttackerContext, rng: torch.Generator
    ) -> list[Any]:
        """Returns the client's own triples, the false ones, and those around them."""
        relation, target = self.wanted_facts[0][1:]
        own = dict.fromkeys(
            each.head for each in examples if each.relation == relation and each.tail != target
        )
        around = [
            (head, relation, target) for head in share_of(list(own), self.around, rng) if head != target
        ]
        return [*examples, *(Triple(-1, *fact) for fact in (*self.wanted_facts, *around) * self.repeat)]

    def trigger(self, examples: Sequence[Triple], rng: torch.Generator) -> list[Triple]:
        """Returns the false facts themselves."""
        return [Triple(-1, *fact) for fact in self.wanted_facts]

    def originals(self, examples: Sequence[Triple], triggered: Sequence[Triple]) -> np.ndarray:
        """Returns no rows: a false fact has no clean original."""
        return np.zeros(0, np.int64)

    def success(self, predictions: Tensor) -> float:
        """Returns the share of facts whose tail ranks among the first; ``predictions`` as `KnowledgeGraph.predict`."""
        return float((predictions[:, 0] <= self.within).double().mean())


def _number(key: str, name: str, known: Sequence[str]) -> int:
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"it has {len(known)} others"
        raise UserError(f"attack.poison.{key}: the graph has no '{name}'; {hint}")
    return known.index(name)
