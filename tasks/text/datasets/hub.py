"""hub: any labelled data set of the Hugging Face hub, or in its cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.datasets._readers import table_of
from hauberk.tasks.text.datasets._rows import Columns, Table, splits_of
from hauberk.tasks.text.examples import RawSplits

if TYPE_CHECKING:
    import datasets

HIDDEN = -1  # how the hub's benchmarks write a label that is kept secret


@dataclass(frozen=True, kw_only=True)
class Hub:
    """A data set that ``datasets.load_dataset`` finds; HF_HUB_OFFLINE and the cache are honoured.

    Args:
        path: its name on the hub, or a local folder of data files.
        text: column of the text.
        label: column of the label, an integer from 0 or a name.
        second: column of the second text of a pair.
        config: its configuration, which the hub calls subset.
        train: the split to train on.
        test: the split to test on; by default "test" if its labels are public, otherwise "validation".
        revision: its version; pin one, so that a figure always means the same data.
    """

    path: str
    text: str = "text"
    label: str = "label"
    second: str | None = None
    config: str | None = None
    train: str = "train"
    test: str | None = None
    revision: str | None = None

    def load(self) -> RawSplits:
        """Loads the splits; a "validation" split that is not used as test is the validation part.

        Raises:
            UserError: if it cannot be loaded, or a split or a column is missing.
        """
        found = self._download()
        train = self._table(found, self.train)
        test = self._table(found, self._test_split(found))
        spare = "validation" in found and not {"validation"} & {self._test_split(found), self.train}
        return splits_of(train, test, self._table(found, "validation") if spare else None)

    def table(self, split: str) -> Table:
        """Returns the rows of one split alone; raises UserError if it cannot be loaded, or has no such column."""
        return self._table(self._download(split), split)

    def _download(self, split: str | None = None) -> Any:
        import datasets

        try:
            one = {} if split is None else {"split": split}
            found = datasets.load_dataset(self.path, self.config, revision=self.revision, **one)
            return found if split is None else {split: found}
        except Exception as error:  # whatever the network, the cache or a broken file raises
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"dataset.path: cannot load '{self.path}': {type(error).__name__}: {reason}"
            ) from error

    def _test_split(self, found: datasets.DatasetDict) -> str:
        if self.test is not None:
            return self.test
        secret = "test" in found and self.label in found["test"].column_names
        secret = secret and set(found["test"][self.label]) == {HIDDEN}
        return "validation" if "validation" in found and ("test" not in found or secret) else "test"

    def _table(self, found: datasets.DatasetDict, split: str) -> Table:
        if split not in found:
            raise UserError(f"'{self.path}' has no split '{split}', only: {', '.join(found)}.")
        columns = Columns(text=self.text, label=self.label, second=self.second)
        return table_of(f"'{self.path}' split '{split}'", found[split], columns)
