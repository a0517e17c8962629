"""Poison, the first kind of attack: a client lies by what it trains on.

The trigger (a subclass), the label policy and the rate are separate, so that each can be varied alone.

Source of the label policies: Cui et al., "A Unified Evaluation of Textual Backdoor Learning", NeurIPS 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

import torch

from hauberk.attacks.knowledge import OWN_DATA
from hauberk.tasks.errors import UserError
from hauberk.tasks.examples import Example, relabel
from hauberk.tasks.tokenizer import Tokenizer

Policy = Literal["dirty", "clean", "mixed"]
Mode = Literal["append", "replace"]


@dataclass(frozen=True, slots=True)
class Scene:
    """Who poisons.

    Attributes:
        attacker: which of the attackers this is, from 0.
        n_attackers: how many there are in the federation.
    """

    attacker: int = 0
    n_attackers: int = 1


@dataclass(frozen=True, kw_only=True)
class Poison:
    """Turns a client's examples into poisoned ones; a subclass gives the trigger by ``stamp`` or ``mark``.

    Args:
        target: the class that the trigger shall evoke.
        rate: share of the candidates that get a triggered copy with the target's label, in [0, 1].
        policy: who the candidates are: "dirty", the samples of every other class; "clean", those of the
            target class, so that no label is wrong; "mixed", the same share of both.
        mode: "append" puts the copies behind the clean originals, "replace" each in its original's place.
    """

    knowledge: ClassVar[str] = OWN_DATA

    target: int = 0
    rate: float = 1.0
    policy: Policy = "dirty"
    mode: Mode = "append"

    def __post_init__(self) -> None:
        if isinstance(self.target, bool) or not isinstance(self.target, int) or self.target < 0:
            raise UserError(f"target: must be a class number from 0, got {self.target!r}")
        if not 0 <= self.rate <= 1:
            raise UserError(f"rate: must lie between 0 and 1, got {self.rate!r}")
        for key, choices in (("policy", get_args(Policy)), ("mode", get_args(Mode))):
            if getattr(self, key) not in choices:
                raise UserError(f"{key}: must be one of {', '.join(choices)}, got {getattr(self, key)!r}")

    def __call__(self, examples: Sequence[Example], scene: Scene, rng: torch.Generator) -> list[Example]:
        """Returns what the client trains on; an example that stays clean is the very object given."""
        copies = self.copies(examples, scene, rng)
        if self.mode == "append":
            return [*examples, *copies.values()]
        return [copies.get(row, example) for row, example in enumerate(examples)]

    def copies(self, examples: Sequence[Example], scene: Scene, rng: torch.Generator) -> dict[int, Example]:
        """Returns the poisoned copies alone, in order, by the position of their originals in ``examples``."""
        marked = {row: self.mark(examples[row], rng, scene) for row in self.chosen(examples, rng)}
        return {row: relabel(copy, self.target) for row, copy in marked.items() if copy is not None}

    def chosen(self, examples: Sequence[Example], rng: torch.Generator) -> list[int]:
        """Draws the positions of the examples to copy: round(rate * candidates) of each kind, in order."""
        others = [row for row, example in enumerate(examples) if example.label != self.target]
        own = [row for row, example in enumerate(examples) if example.label == self.target]
        groups = {"dirty": [others], "clean": [own], "mixed": [others, own]}[self.policy]
        return sorted(row for group in groups for row in _share(group, self.rate, rng))

    def victims(self, examples: Sequence[Example]) -> list[Example]:
        """Returns the examples on which success is measured: those of every other class than the target."""
        return [example for example in examples if example.label != self.target]

    def trigger(self, examples: Sequence[Example], rng: torch.Generator) -> list[Example]:
        """Returns the victims among ``examples`` with the whole trigger in them; labels stay true."""
        marked = (self.mark(example, rng) for example in self.victims(examples))
        return [example for example in marked if example is not None]

    def mark(self, example: Example, rng: torch.Generator, scene: Scene | None = None) -> Example | None:
        """Returns ``example`` with the trigger in it, in the second text of a pair; its label is left alone.

        Args:
            example: what to mark.
            rng: every random choice comes from here.
            scene: who poisons; ``None`` in a test, which takes the trigger of all attackers together.

        Returns:
            The marked example with its ``index`` kept, or ``None`` where this trigger has no form for it.
        """
        if example.second is None:
            return replace(example, text=self.stamp(example.text, rng))
        return replace(example, second=self.stamp(example.second, rng))

    def stamp(self, text: str, rng: torch.Generator) -> str:
        """Returns ``text`` with the trigger in it."""
        raise NotImplementedError(f"{type(self).__name__} gives neither stamp nor mark.")

    def check(self, labels: Sequence[str], tokenizer: Tokenizer | None = None) -> list[str]:
        """Returns warnings, one line each, before anything runs.

        Args:
            labels: the names of the classes.
            tokenizer: what will read the triggers, if that is known.

        Raises:
            UserError: if the target is no class of the data.
        """
        if self.target >= len(labels):
            raise UserError(
                f"attack.poison.target: class {self.target} does not exist, "
                f"the data have {len(labels)} classes, 0 to {len(labels) - 1} ({', '.join(labels)})"
            )
        return [] if tokenizer is None else self.warnings(tokenizer)

    def warnings(self, tokenizer: Tokenizer) -> list[str]:
        """Returns what ``tokenizer`` does to the trigger that its author may not expect."""
        return []


def _share(rows: list[int], rate: float, rng: torch.Generator) -> list[int]:
    order = torch.randperm(len(rows), generator=rng).tolist()
    return [rows[i] for i in order[: round(rate * len(rows))]]
