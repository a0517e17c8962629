"""files: the user's own graph, a file of triples for each split, and texts where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hauberk.tasks.errors import UserError
from hauberk.tasks.graph.datasets._tables import graph_of, read_texts, read_triples
from hauberk.tasks.graph.triples import RawGraph


@dataclass(frozen=True, kw_only=True)
class Files:
    """A graph in tab-separated files: head, relation, tail on each line.

    Args:
        train: path of the training triples.
        test: path of the test triples.
        validation: path of the validation triples; without it, a share of ``train`` is held back.
        entities: path of the entities' texts, name and text on each line.
        relations: path of the relations' texts, likewise.
    """

    train: str
    test: str
    validation: str | None = None
    entities: str | None = None
    relations: str | None = None

    def load(self) -> RawGraph:
        """Reads the files.

        Raises:
            UserError: naming the file and what is wrong with it.
        """
        paths = {"train": self.train, "validation": self.validation, "test": self.test}
        parts = {name: read_triples(Path(path)) for name, path in paths.items() if path is not None}
        texts = [None if path is None else read_texts(Path(path)) for path in (self.entities, self.relations)]
        try:
            return graph_of(parts, *texts)
        except UserError as error:
            raise UserError(f"task.{error}") from error
