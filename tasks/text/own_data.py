"""One split that a machine holds for itself: its labels become the classes that all have agreed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.datasets._readers import read
from hauberk.tasks.text.datasets._rows import Columns, Table
from hauberk.tasks.text.datasets.hub import Hub
from hauberk.tasks.text.examples import Example


class OwnData(Protocol):
    """Where a machine's examples are: what OWN_DATA holds."""

    def table(self, folder: Path) -> Table:
        """Returns the rows; relative paths begin at ``folder``."""


@dataclass(frozen=True, kw_only=True)
class OwnFile:
    """A file: JSON Lines (.jsonl), CSV, TSV, Parquet, or a folder written by ``datasets``' save_to_disk.

    Args:
        path: of the file.
        text: column of the text.
        label: column of the label: a class by its name, or by its number.
        second: column of the second text of a pair.
    """

    path: str
    text: str = "text"
    label: str = "label"
    second: str | None = None

    def table(self, folder: Path) -> Table:
        """Returns the rows of the file."""
        return read(folder / self.path, Columns(text=self.text, label=self.label, second=self.second))


@dataclass(frozen=True, kw_only=True)
class OwnHub:
    """One split of a data set that ``datasets.load_dataset`` finds.

    Args:
        path: its name on the hub, or a local folder of data files.
        split: of it.
        text: column of the text.
        label: column of the label.
        second: column of the second text of a pair.
        config: its configuration, which the hub calls subset.
        revision: its version.
    """

    path: str
    split: str = "train"
    text: str = "text"
    label: str = "label"
    second: str | None = None
    config: str | None = None
    revision: str | None = None

    def table(self, folder: Path) -> Table:
        """Returns the rows of the split."""
        hub = Hub(
            path=self.path,
            text=self.text,
            label=self.label,
            second=self.second,
            config=self.config,
            revision=self.revision,
        )
        return hub.table(self.split)


OWN_DATA: dict[str, type[OwnData]] = {"file": OwnFile, "hub": OwnHub}


def own_examples(data: OwnData, folder: Path, labels: Sequence[str]) -> tuple[Example, ...]:
    """Returns the examples of ``data``, whose labels are names or numbers of the classes ``labels``.

    Raises:
        UserError: there are none, they cannot be read, or a label is none of the classes.
    """
    table = data.table(folder)
    if not table.rows:
        raise UserError(f"{table.source} holds no examples.")
    numbers = _numbers(labels, table.classes)
    for row in table.rows:
        if row.label not in numbers:
            raise UserError(
                f"{table.source} line {row.line} has the label '{row.label}', and the classes agreed on are "
                f"{', '.join(labels)}."
            )
    return tuple(
        Example(index, row.text, row.second, numbers[row.label]) for index, row in enumerate(table.rows)
    )


def _numbers(labels: Sequence[str], declared: Sequence[str] | None) -> Mapping[int | str, int]:
    """Returns the number of each label that may stand in a table, by name, or by the number that it declares."""
    names: dict[int | str, int] = {name: number for number, name in enumerate(labels)}
    if declared is None:
        return names | {number: number for number in range(len(labels))}
    return names | {number: names[name] for number, name in enumerate(declared) if name in names}
