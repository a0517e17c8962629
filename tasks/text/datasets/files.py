"""files: the user's own data, one file for each split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.datasets._readers import read
from hauberk.tasks.text.datasets._rows import Columns, Table, splits_of
from hauberk.tasks.text.examples import RawSplits


@dataclass(frozen=True, kw_only=True)
class Files:
    """Texts in JSON Lines (.jsonl), CSV, TSV, Parquet, or a folder written by ``datasets``' save_to_disk.

    Args:
        train: path of the training split.
        test: path of the test split.
        validation: path of the validation split; without it, a share of ``train`` is held back.
        text: column of the text.
        label: column of the label, an integer from 0 or a name.
        second: column of the second text of a pair.
    """

    train: str
    test: str
    validation: str | None = None
    text: str = "text"
    label: str = "label"
    second: str | None = None

    def load(self) -> RawSplits:
        """Reads the files.

        Raises:
            UserError: naming the file and what is wrong with it.
        """
        train, test = self._read("train", self.train), self._read("test", self.test)
        validation = None if self.validation is None else self._read("validation", self.validation)
        return splits_of(train, test, validation)

    def _read(self, key: str, path: str) -> Table:
        try:
            return read(Path(path), Columns(text=self.text, label=self.label, second=self.second))
        except UserError as error:
            raise UserError(f"dataset.{key}: {error}") from error
