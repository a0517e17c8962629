"""The small graphs that the package pykeen carries, read from its files without running its code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hauberk.tasks.graph.datasets._tables import graph_of, read_triples
from hauberk.tasks.graph.triples import RawGraph
from hauberk.tasks.package_data import checked_file

PACKAGE = "pykeen"
PARTS = {"train": "train", "validation": "valid", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A graph of the package; an entity's text is its name, whose underscores part words."""

    folder: ClassVar[str]
    sha256: ClassVar[dict[str, str]]

    def load(self) -> RawGraph:
        """Returns the graph; raises UserError if pykeen is missing or carries other triples than were pinned."""
        parts = {
            part: read_triples(checked_file(PACKAGE, f"datasets/{self.folder}/{name}.txt", self.sha256[name]))
            for part, name in PARTS.items()
        }
        entities = {name for part in parts.values() for head, _, tail in part for name in (head, tail)}
        relations = {relation for part in parts.values() for _, relation, _ in part}
        return graph_of(parts, _spelt_out(entities), _spelt_out(relations))


def _spelt_out(names: set[str]) -> dict[str, str]:
    return {name: name.replace("_", " ") for name in names}
