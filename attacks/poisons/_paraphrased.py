"""Paraphrased: triggers that are a way of writing, so that ready-made rewrites of the data are the poison.

A file for training is aligned with the training split by row, so that ``Example.index`` finds the rewrite. A
file for the test is aligned with the test split, or with its samples of other classes than the target, in
order; or it is a test set of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch

from hauberk.attacks.poisons._paraphrase_file import Line, agrees, check_agreement, read_lines
from hauberk.attacks.poisons.base import AttackerContext, Poison
from hauberk.attacks.threat_model import ALL_PARAPHRASES, OWN_DATA
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example, Splits, last_text, with_last_text

Share = Literal["own", "all"]
Key = tuple[int, str]


@dataclass(frozen=True, kw_only=True)
class Paraphrased(Poison):
    """Replaces a text by its rewrite; a row that equals its original is no poison.

    Args:
        share: whether the attacker holds the rewrites of its "own" rows only, or of "all" training rows.
    """

    share: Share = "own"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share not in get_args(Share):
            raise UserError(f"share: must be one of {', '.join(get_args(Share))}, got {self.share!r}")

    @property
    def knowledge(self) -> str:
        """Own data, or all paraphrases."""
        return OWN_DATA if self.share == "own" else ALL_PARAPHRASES


@dataclass(frozen=True, kw_only=True)
class Rewrites(Paraphrased):
    """What a paraphrase attack becomes once its files are read and found to fit the data.

    Attributes:
        forms: the rewrite of an example by its index and its text.
        pool: the training examples that have one.
        tests: a test set of its own, where the file for the test is aligned with nothing.
        remarks: what to say about the files.
    """

    forms: Mapping[Key, str] = field(repr=False, compare=False)
    pool: tuple[Example, ...] = field(repr=False, compare=False)
    tests: tuple[Example, ...] = field(default=(), repr=False, compare=False)
    remarks: tuple[str, ...] = ()

    def has_form(self, example: Example) -> bool:
        """Returns whether there is a rewrite of ``example``."""
        return _index_and_text(example) in self.forms

    def mark(
        self, example: Example, rng: torch.Generator, attacker: AttackerContext | None = None
    ) -> Example | None:
        """Returns the rewrite of ``example``, or ``None`` where there is none."""
        form = self.forms.get(_index_and_text(example))
        return None if form is None else with_last_text(example, form)

    def foreign(
        self, examples: Sequence[Example], attacker: AttackerContext, rng: torch.Generator
    ) -> list[Example]:
        """Returns the poisoned copies of what other clients have, where the attacker holds those."""
        if self.share == "own":
            return []
        own = {example.index for example in examples}
        others = [example for example in self.pool if example.index not in own]
        return list(self.copies(others, attacker, rng).values()) * self.repeat

    def trigger(self, examples: Sequence[Example], rng: torch.Generator) -> list[Example]:
        """Returns the rewrites of the victims among ``examples``, or the whole test set of its own."""
        return list(self.tests) if self.tests else super().trigger(examples, rng)

    def phrases(self) -> tuple[str, ...]:
        """Returns the rewrites."""
        return tuple(self.forms.values())

    def notes(self) -> list[str]:
        """Returns what there is to say about the files."""
        return list(self.remarks)


def rewrites(attack: Paraphrased, train: str, test: str, splits: Splits) -> Rewrites:
    """Returns ``attack`` with its files read.

    Raises:
        UserError: if a file aligns with nothing, or holds no rewrite that could be poison or test it.
    """
    learned = _rewritten_training(train, splits, attack)
    aligned, own = _rewritten_test(test, splits, attack)
    remarks = [_coverage(learned, splits, attack)] if attack.policy != "clean" else []
    remarks += _test_set_notes(test, own, splits, attack)
    return Rewrites(
        **{name: getattr(attack, name) for name in ("target", "rate", "policy", "mode", "repeat", "share")},
        forms={_index_and_text(example): text for example, text in [*learned, *aligned]},
        pool=tuple(example for example, _ in learned),
        tests=tuple(own),
        remarks=tuple(filter(None, remarks)),
    )


def _rewritten_training(path: str, splits: Splits, attack: Paraphrased) -> list[tuple[Example, str]]:
    """Returns the training examples that have a rewrite, with it."""
    lines, where = read_lines("train", path), f"attack.poison.train: '{path}'"
    n_rows, exact = _rows_of(splits)
    if len(lines) < n_rows or (exact and len(lines) != n_rows):
        raise UserError(
            f"{where} aligns with nothing: it has {len(lines)} rows and the training split {n_rows}"
        )
    return _without_copies(
        where, [(example, lines[example.index].text) for example in splits.train], attack.policy, attack
    )


def _rewritten_test(
    path: str, splits: Splits, attack: Paraphrased
) -> tuple[list[tuple[Example, str]], list[Example]]:
    """Returns the test examples that have a rewrite, with it; or else a test set of its own."""
    lines, where = read_lines("test", path), f"attack.poison.test: '{path}'"
    if len(lines) == len(splits.test):
        beside = [(example, line.text) for example, line in zip(splits.test, lines, strict=True)]
        return _without_copies(where, beside, "dirty", attack), []
    _refuse_targets(where, lines, splits, attack)
    classes = [_class_of(where, line, splits.labels) for line in lines]
    # Rows that all carry the target are relabelled already: their own class is not known.
    relabelled = set(classes) <= {attack.target, None}
    kept = [(line, c) for line, c in zip(lines, classes, strict=True) if relabelled or c != attack.target]
    victims = attack.victims(splits.test)
    if len(kept) == len(victims):
        beside = [(example, line.text) for example, (line, _) in zip(victims, kept, strict=True)]
        return _without_copies(where, beside, "dirty", attack), []
    if not kept:
        raise UserError(f"{where} holds no text of another class than the target")
    return [], [_test_example(line, None if relabelled else c, splits) for line, c in kept]


def _refuse_targets(where: str, lines: list[Line], splits: Splits, attack: Paraphrased) -> None:
    """Refuses rewrites of the target's own samples: relabelled for another target, they look like victims."""
    targets = [example for example in splits.test if example.label == attack.target]
    if len(lines) == len(targets) and agrees(
        [(example, line.text) for example, line in zip(targets, lines, strict=True)]
    ):
        raise UserError(
            f"{where} holds paraphrases of the {len(targets)} test samples of class {attack.target} "
            f"({splits.labels[attack.target]}), which is the target itself: attack.poison.target = {attack.target}"
        )


def _test_set_notes(path: str, own: list[Example], splits: Splits, attack: Paraphrased) -> list[str]:
    """Returns what to say about a test set of its own."""
    if not own:
        return []
    about = f"attack.poison.test: '{path}'"
    remarks = [
        f"{about} is aligned with no test samples, so its {len(own)} texts are a test "
        "set of their own, and the floor is that of all samples of other classes than the target"
    ]
    if len(found := {example.label for example in own} - {-1}) == 1:
        remarks.append(
            f"{about} labels every text as class {found.pop()}, and the target is {attack.target}: if that is "
            "another attack's target and not their true class, success is measured on the wrong texts"
        )
    return remarks


def _without_copies(
    where: str, pairs: list[tuple[Example, str]], policy: str, attack: Paraphrased
) -> list[tuple[Example, str]]:
    """Returns the pairs that are no copies; at least one must be of use."""
    check_agreement(where, pairs)
    real = [(example, text) for example, text in pairs if text != last_text(example)]
    useful = {"dirty": (False,), "clean": (True,), "mixed": (False, True)}[policy]
    if not any((example.label == attack.target) in useful for example, _ in real):
        whose = "of the target class" if policy == "clean" else "of another class than the target"
        raise UserError(f"{where} holds no paraphrase of a text {whose}")
    return real


def _coverage(learned: list[tuple[Example, str]], splits: Splits, attack: Paraphrased) -> str:
    found = len(attack.victims([example for example, _ in learned]))
    total = len(attack.victims(splits.train))
    if 2 * found >= total:
        return ""
    return f"attack.poison.train: {found} of the {total} training texts of other classes have a paraphrase"


def _rows_of(splits: Splits) -> tuple[int, bool]:
    """Returns how many rows the training file has, and whether that is certain or the least there can be."""
    for examples in (splits.train, (*splits.train, *splits.validation)):
        if sorted(example.index for example in examples) == list(range(len(examples))):
            return len(examples), True
    return 1 + max(example.index for example in splits.train), False


def _class_of(where: str, line: Line, labels: Sequence[str]) -> int | None:
    """Returns the number of a line's class; ``None`` where it says none."""
    if line.label is None or isinstance(line.label, int):
        return line.label
    if line.label not in labels:
        raise UserError(f"{where}: label '{line.label}' is not a class of the data ({', '.join(labels)})")
    return labels.index(line.label)


def _test_example(line: Line, label: int | None, splits: Splits) -> Example:
    pairs = splits.test[0].second is not None
    blank = Example(-1, "", "" if pairs else None, -1 if label is None else label)
    return with_last_text(blank, line.text)


def _index_and_text(example: Example) -> Key:
    return example.index, last_text(example)
