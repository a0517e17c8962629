"""What a malicious client makes of its examples, apart from those that it leaves alone."""

from __future__ import annotations

from dataclasses import replace

from hauberk.attacks.poisons.base import AttackerContext, Poison
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.examples import Example
from hauberk.tasks.training_session import TrainingSession


def poison_of(session: TrainingSession) -> Poison:
    """Returns the session's poison.

    Raises:
        UserError: if it has none.
    """
    if session.poison is None:
        raise UserError("attack.tamper: needs a poison whose trigger it learns, and attack.poison is absent")
    return session.poison


def triggered(session: TrainingSession, rate: float | None = None) -> list[Example]:
    """Returns all poisoned copies, with the target's label; ``rate`` takes the place of the poison's own."""
    poison = _with_rate(poison_of(session), rate)
    copies, more = poison.marked(session.examples, session.attacker or AttackerContext(), session.rng)
    return [*copies.values(), *more]


def split_by_trigger(session: TrainingSession) -> tuple[list[Example], list[Example], list[Example]]:
    """Returns what the poison makes of the client's texts: those left clean, those with the trigger, and the others."""
    poison, attacker = poison_of(session), session.attacker or AttackerContext()
    copies, more = poison.marked(session.examples, attacker, session.rng)
    replaced = set(copies) if poison.mode == "replace" else set[int]()
    clean = [example for row, example in enumerate(session.examples) if row not in replaced]
    return clean, [*copies.values(), *more], poison.extras(session.examples, attacker, session.rng)


def poisoned_examples(session: TrainingSession, rate: float | None = None) -> list[Example]:
    """Returns all that the poison makes: beside triggered copies, those that keep their true label."""
    own = {id(example) for example in session.examples}
    poison = replace(_with_rate(poison_of(session), rate), mode="append")
    poisoned = poison(session.examples, session.attacker or AttackerContext(), session.rng)
    return [example for example in poisoned if id(example) not in own]


def of_class(session: TrainingSession, label: int) -> list[Example]:
    """Returns the client's own clean examples of one class."""
    return [example for example in session.examples if example.label == label]


def encoded(session: TrainingSession, examples: list[Example]) -> Encoded | None:
    """Returns ``examples`` tokenised, ``None`` where there are none."""
    return session.encode(examples) if examples else None


def _with_rate(poison: Poison, rate: float | None) -> Poison:
    return poison if rate is None else replace(poison, rate=rate)
