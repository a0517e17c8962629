"""From rows as a file holds them to examples: columns are checked, and labels become classes.

Integer labels keep their value. Strings are numbered in sorted order, so that the numbers do not depend on
the order of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example, RawSplits

MAX_CLASSES = 10_000


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of a table hold what; ``second`` is the other text of a pair."""

    text: str = "text"
    label: str = "label"
    second: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that a table must have."""
        return (self.text, self.label) if self.second is None else (self.text, self.label, self.second)

    def check(self, source: str, found: Iterable[str]) -> None:
        """Raises UserError if a table with the columns ``found`` lacks one."""
        found = list(found)
        for name in self.names:
            if name not in found:
                raise UserError(f"{source} has no column '{name}', only: {', '.join(map(str, found))}.")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its texts, its label as written, and where it stands."""

    text: str
    second: str | None
    label: int | str
    line: int


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of one split; ``classes`` are the names of integer labels, where the source declares them."""

    source: str
    rows: Sequence[Row]
    classes: tuple[str, ...] | None = None


def row(source: str, line: int, record: Mapping[str, Any], columns: Columns) -> Row:
    """Returns one checked row; ``line`` is only used to say where a mistake is."""
    text = _text(source, line, columns.text, record.get(columns.text))
    second = (
        None if columns.second is None else _text(source, line, columns.second, record.get(columns.second))
    )
    return Row(text, second, _label(source, line, columns.label, record.get(columns.label)), line)


def splits_of(train: Table, test: Table, validation: Table | None = None) -> RawSplits:
    """Numbers the labels by the training data and turns rows into examples.

    Raises:
        UserError: if a split is empty, the training data has one class only, or a label is no class of it.
    """
    for table in (train, test, validation):
        if table is not None and not table.rows:
            raise UserError(f"{table.source} holds no examples.")
    numbers, labels = _classes(train)
    return RawSplits(
        train=_examples(train, numbers),
        test=_examples(test, numbers),
        validation=None if validation is None else _examples(validation, numbers),
        labels=labels,
    )


def _examples(table: Table, numbers: Mapping[int | str, int]) -> tuple[Example, ...]:
    for each in table.rows:
        if each.label not in numbers:
            where = f"{table.source} line {each.line}"
            raise UserError(f"label '{each.label}' in {where} is not a class of the training data.")
    return tuple(
        Example(index, each.text, each.second, numbers[each.label]) for index, each in enumerate(table.rows)
    )


def _classes(train: Table) -> tuple[dict[int | str, int], tuple[str, ...]]:
    """Returns the number of each label that occurs, and the names of all numbers."""
    found = {each.label for each in train.rows}
    if len(found) < 2:
        raise UserError(f"{train.source} has the single class '{found.pop()}', a classifier needs two.")
    integers = [label for label in found if isinstance(label, int)]
    if len(integers) < len(found):
        names = sorted(map(str, found))
        return {label: names.index(str(label)) for label in found}, tuple(names)
    if min(integers) < 0 or max(integers) >= MAX_CLASSES:
        odd, most = min(integers) if min(integers) < 0 else max(integers), MAX_CLASSES - 1
        raise UserError(f"{train.source} has the label {odd}; integer labels go from 0 to {most}.")
    declared = train.classes or ()
    n = max(len(declared), max(integers) + 1)
    names = [declared[i] if i < len(declared) else str(i) for i in range(n)]
    return {label: label for label in integers}, tuple(names)


def _text(source: str, line: int, column: str, value: Any) -> str:
    if not isinstance(value, str):
        kind = "nothing" if value is None else type(value).__name__
        raise UserError(f"column '{column}' in {source} line {line} must be a text, got {kind}.")
    return value


def _label(source: str, line: int, column: str, value: Any) -> int | str:
    """Returns the label as an integer where it is one, also when a file could only write it as a string."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    if isinstance(value, str) and value.strip():
        value = value.strip()
        return int(value) if value.lstrip("-").isascii() and value.lstrip("-").isdigit() else value
    raise UserError(f"column '{column}' in {source} line {line} must be an integer or a name, got {value!r}.")
