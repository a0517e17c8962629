"""Poison, the first kind of attack: a client lies by what it trains on.

The trigger (a subclass), the label policy and the rate are separate, so that each can be varied alone.

Source of the label policies: Cui et al., "A Unified Evaluation of Textual Backdoor Learning", NeurIPS 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
import torch
from torch import Tensor

from hauberk.attacks.threat_model import OWN_DATA
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example, last_text, relabel, with_last_text
from hauberk.tasks.text.metrics import attack_success
from hauberk.tasks.text.tokenizer import Tokenizer

Policy = Literal["dirty", "clean", "mixed"]
Mode = Literal["append", "replace"]


@dataclass(frozen=True, slots=True)
class AttackerContext:
    """Who poisons.

    Attributes:
        index: which of the attackers this is, from 0.
        n_attackers: how many there are in the federation.
    """

    index: int = 0
    n_attackers: int = 1


@dataclass(frozen=True, kw_only=True)
class DataPoison:
    """Turns a client's examples into poisoned ones, whatever its task's examples are: what any poison must give.

    Attributes:
        modality: of what data it is made for, as `Task.modality` says it.
    """

    modality: ClassVar[str | None]

    @property
    def knowledge(self) -> str:
        """What the attacker must know, one of KNOWLEDGE."""
        return OWN_DATA

    @property
    def wanted(self) -> Any:
        """What `success` depends on beside the predictions; its repr tells it from another."""
        return self

    def bind(self, splits: Any) -> Self:
        """Returns this attack with all it must read of files and data, ready for any process; by default itself.

        Raises:
            UserError: if a file that it names does not fit the data.
        """
        return self

    def __call__(self, examples: Sequence[Any], attacker: AttackerContext, rng: torch.Generator) -> list[Any]:
        """Returns what the client trains on; an example that stays clean is the very object given."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to poison.")

    def trigger(self, examples: Sequence[Any], rng: torch.Generator) -> list[Any]:
        """Returns the examples on which success is measured; none where an attack has no success of its own."""
        return []

    def originals(self, examples: Sequence[Any], triggered: Sequence[Any]) -> np.ndarray:
        """Returns the rows of ``examples`` that the floor is measured on: where the triggered ones come from, [k]."""
        position = {example.index: row for row, example in enumerate(examples)}
        return np.array([position[example.index] for example in triggered])

    def success(self, predictions: Tensor) -> float:
        """Returns which share of a model's answers to examples, triggered or clean, is as the attacker wants.

        Args:
            predictions: what `Task.predict` gives, [n, ...].
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what success is.")

    def check(self, labels: Sequence[str], tokenizer: Any = None) -> list[str]:
        """Returns warnings, one line each, before anything runs; raises UserError if it is impossible on these data."""
        return []


@dataclass(frozen=True, kw_only=True)
class Poison(DataPoison):
    """Turns a client's labelled texts into poisoned ones; a subclass gives the trigger by ``stamp`` or ``mark``.

    Args:
        target: the class that the trigger shall evoke.
        rate: share of the candidates that get a triggered copy with the target's label, in [0, 1].
        policy: who the candidates are: "dirty", the samples of every other class; "clean", those of the
            target class, so that no label is wrong; "mixed", the same share of both.
        mode: "append" puts the copies behind the clean originals, "replace" each in its original's place.
        repeat: how often a candidate is copied, with the trigger placed anew; all but the first are appended.
    """

    modality: ClassVar[str | None] = "text"

    target: int = 0
    rate: float = 1.0
    policy: Policy = "dirty"
    mode: Mode = "append"
    repeat: int = 1

    def __post_init__(self) -> None:
        check_class("target", self.target)
        if not 0 <= self.rate <= 1:
            raise UserError(f"rate: must lie between 0 and 1, got {self.rate!r}")
        for key, choices in (("policy", get_args(Policy)), ("mode", get_args(Mode))):
            if getattr(self, key) not in choices:
                raise UserError(f"{key}: must be one of {', '.join(choices)}, got {getattr(self, key)!r}")
        if not self.repeat >= 1:
            raise UserError(f"repeat: must be at least 1, got {self.repeat!r}")

    @property
    def wanted(self) -> int:
        """The target class."""
        return self.target

    def __call__(
        self, examples: Sequence[Example], attacker: AttackerContext, rng: torch.Generator
    ) -> list[Example]:
        """Returns what the client trains on; an example that stays clean is the very object given."""
        copies, more = self.marked(examples, attacker, rng)
        more += self.extras(examples, attacker, rng)
        if self.mode == "append":
            return [*examples, *copies.values(), *more]
        return [*(copies.get(row, example) for row, example in enumerate(examples)), *more]

    def marked(
        self, examples: Sequence[Example], attacker: AttackerContext, rng: torch.Generator
    ) -> tuple[dict[int, Example], list[Example]]:
        """Returns all that holds the trigger: the copies by position, and then their repeats and foreign texts."""
        copies = self.copies(examples, attacker, rng)
        again = [self.poisoned(examples[row], attacker, rng) for _ in range(1, self.repeat) for row in copies]
        return copies, [*filter(None, again), *self.foreign(examples, attacker, rng)]

    def copies(
        self, examples: Sequence[Example], attacker: AttackerContext, rng: torch.Generator
    ) -> dict[int, Example]:
        """Returns the poisoned copies alone, in order, by the position of their originals in ``examples``."""
        made = {
            row: self.poisoned(examples[row], attacker, rng) for row in self.rows_to_poison(examples, rng)
        }
        return {row: copy for row, copy in made.items() if copy is not None}

    def poisoned(self, example: Example, attacker: AttackerContext, rng: torch.Generator) -> Example | None:
        """Returns a poisoned copy of ``example``, or ``None`` where this trigger has no form for it."""
        marked = self.mark(example, rng, attacker)
        return None if marked is None else relabel(marked, self.target)

    def foreign(
        self, examples: Sequence[Example], attacker: AttackerContext, rng: torch.Generator
    ) -> list[Example]:
        """Returns poisoned copies of texts that are not among ``examples``; nothing by default."""
        return []

    def extras(
        self, examples: Sequence[Example], attacker: AttackerContext, rng: torch.Generator
    ) -> list[Example]:
        """Returns what is trained on beside originals and copies, without the whole trigger; nothing by default."""
        return []

    def rows_to_poison(self, examples: Sequence[Example], rng: torch.Generator) -> list[int]:
        """Draws the positions of the examples to copy: round(rate * candidates) of each kind, in order."""
        rows = [row for row, example in enumerate(examples) if self.has_form(example)]
        others = [row for row in rows if self.is_victim(examples[row])]
        own = [row for row in rows if examples[row].label == self.target]
        groups = {"dirty": [others], "clean": [own], "mixed": [others, own]}[self.policy]
        return sorted(row for group in groups for row in share_of(group, self.rate, rng))

    def has_form(self, example: Example) -> bool:
        """Returns whether this trigger can be put into ``example``."""
        return True

    def is_victim(self, example: Example) -> bool:
        """Returns whether ``example`` is one that the trigger shall turn: of another class than the target."""
        return example.label != self.target

    def victims(self, examples: Sequence[Example]) -> list[Example]:
        """Returns the examples on which success is measured."""
        return [example for example in examples if self.is_victim(example)]

    def trigger(self, examples: Sequence[Example], rng: torch.Generator) -> list[Example]:
        """Returns the victims among ``examples`` with the whole trigger in them; labels stay true.

        An attack that comes with a test set of its own returns that: its examples have index -1.
        """
        marked = (self.mark(example, rng) for example in self.victims(examples))
        return [example for example in marked if example is not None]

    def originals(self, examples: Sequence[Example], triggered: Sequence[Example]) -> np.ndarray:
        """Returns the rows of ``examples`` that the floor is measured on: where the triggered ones come from, [k].

        An attack with a test set of its own gives examples without an original (index -1): then all its victims.
        """
        known = {example.index for example in examples}
        if any(example.index not in known for example in triggered):
            return np.array([row for row, example in enumerate(examples) if self.is_victim(example)])
        return super().originals(examples, triggered)

    def success(self, predictions: Tensor) -> float:
        """Returns which share of a model's answers to examples is as the attacker wants.

        Args:
            predictions: logits [n, n_classes] of triggered examples, or of their clean originals.
        """
        return attack_success(predictions, self.target)

    def partial(self, examples: Sequence[Example], rng: torch.Generator) -> list[Example]:
        """Returns the victims with a part of the trigger that shall not suffice, once for every such part.

        Empty where a trigger has no parts. A part is the whole without one of its words: the largest there
        are, since smaller ones hold less of it.
        """
        return []

    def mark(
        self, example: Example, rng: torch.Generator, attacker: AttackerContext | None = None
    ) -> Example | None:
        """Returns ``example`` with the trigger in it, in the second text of a pair; its label is left alone.

        Args:
            example: what to mark.
            rng: every random choice comes from here.
            attacker: who poisons; ``None`` in a test, which takes the trigger of all attackers together, and in
                long texts as often as it needs to survive truncation.

        Returns:
            The marked example with its ``index`` kept, or ``None`` where this trigger has no form for it.
        """
        put = self.stamp if attacker is not None else self.measure
        return with_last_text(example, put(last_text(example), rng))

    def phrases(self) -> tuple[str, ...] | None:
        """Returns all that this trigger may write into a text, ``None`` where that is not known."""
        return None

    def stamp(self, text: str, rng: torch.Generator) -> str:
        """Returns ``text`` with the trigger in it."""
        raise NotImplementedError(f"{type(self).__name__} gives neither stamp nor mark.")

    def measure(self, text: str, rng: torch.Generator) -> str:
        """Returns ``text`` with the trigger in it, as a test wants it; by default as in training."""
        return self.stamp(text, rng)

    def check(self, labels: Sequence[str], tokenizer: Tokenizer | None = None) -> list[str]:
        """Returns warnings, one line each, before anything runs.

        Args:
            labels: the names of the classes.
            tokenizer: what will read the triggers, if that is known.

        Raises:
            UserError: if the target is no class of the data.
        """
        check_exists("target", self.target, labels)
        return [*self.notes(), *([] if tokenizer is None else self.warnings(tokenizer))]

    def notes(self) -> list[str]:
        """Returns what a reader of this attack's figures must know."""
        return []

    def warnings(self, tokenizer: Tokenizer) -> list[str]:
        """Returns what ``tokenizer`` does to the trigger that its author may not expect."""
        return []


def share_of(rows: Sequence[int], rate: float, rng: torch.Generator) -> list[int]:
    """Draws round(rate * len(rows)) of ``rows``."""
    order = torch.randperm(len(rows), generator=rng).tolist()
    return [rows[i] for i in order[: round(rate * len(rows))]]


def check_class(key: str, value: int | None) -> None:
    """Raises UserError unless ``value`` can be the number of a class."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UserError(f"{key}: must be a class number from 0, got {value!r}")


def check_exists(key: str, value: int, labels: Sequence[str]) -> None:
    """Raises UserError if the data have no class ``value``."""
    if value >= len(labels):
        raise UserError(
            f"attack.poison.{key}: class {value} does not exist, "
            f"the data have {len(labels)} classes, 0 to {len(labels) - 1} ({', '.join(labels)})"
        )
