"""Tab-separated files of triples and of texts, and a whole graph made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hauberk.tasks.errors import UserError
from hauberk.tasks.graph.triples import RawGraph, Triple

Names = tuple[str, str, str]


def read_triples(path: Path) -> list[Names]:
    """Returns the (head, relation, tail) of each line.

    Raises:
        UserError: if the file is missing, empty, not UTF-8, or a line has not three columns.
    """
    found = []
    for number, line in _lines(path):
        columns = tuple(column.strip() for column in line.split("\t"))
        if len(columns) != 3 or not all(columns):
            raise UserError(
                f"{path} line {number}: must be head, relation and tail parted by tabs, got {len(columns)} columns"
            )
        found.append(columns)
    if not found:
        raise UserError(f"{path}: holds no triples")
    return found


def read_texts(path: Path) -> dict[str, str]:
    """Returns the text of each name; raises UserError where a line has no text or a name comes twice."""
    texts: dict[str, str] = {}
    for number, line in _lines(path):
        name, _, text = line.partition("\t")
        if not name.strip() or not text.strip():
            raise UserError(f"{path} line {number}: must be a name, a tab and its text, got {line[:60]!r}")
        if name.strip() in texts:
            raise UserError(f"{path} line {number}: {name.strip()!r} comes a second time")
        texts[name.strip()] = text.strip()
    return texts


def graph_of(
    parts: Mapping[str, Sequence[Names]],
    entity_texts: Mapping[str, str] | None = None,
    relation_texts: Mapping[str, str] | None = None,
) -> RawGraph:
    """Returns the graph of ``parts``: "train", "test", and "validation" where there is one.

    Entities are numbered in the order of their names: all that have a text where there are texts, else all that occur.

    Raises:
        UserError: if a name has no text, a relation is not in the training part, or parts share a triple.
    """
    _refuse_leakage(parts)
    occurring = {name for part in parts.values() for head, _, tail in part for name in (head, tail)}
    relations = sorted({relation for _, relation, _ in parts["train"]})
    for part, triples in parts.items():
        _refuse("a relation", "not in the training triples", part, [r for _, r, _ in triples], set(relations))
    if entity_texts is not None:
        for part, triples in parts.items():
            names = [name for head, _, tail in triples for name in (head, tail)]
            _refuse("an entity", "without a text", part, names, set(entity_texts))
        occurring |= entity_texts.keys()
    if relation_texts is not None:
        _refuse("a relation", "without a text", "train", relations, set(relation_texts))
    entities = sorted(occurring)
    numbered = {name: _numbered(part, entities, relations) for name, part in parts.items()}
    return RawGraph(
        entities=tuple(entities),
        relations=tuple(relations),
        train=numbered["train"],
        test=numbered["test"],
        validation=numbered.get("validation"),
        entity_texts=() if entity_texts is None else tuple(entity_texts[name] for name in entities),
        relation_texts=() if relation_texts is None else tuple(relation_texts[name] for name in relations),
    )


def _refuse_leakage(parts: Mapping[str, Sequence[Names]]) -> None:
    names = list(parts)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            if shared := set(parts[one]) & set(parts[other]):
                raise UserError(
                    f"dataset: {len(shared)} triples stand both in {one} and in {other}, such as "
                    f"{' '.join(min(shared))}; each may stand in one of them"
                )


def _refuse(what: str, odd: str, part: str, names: Sequence[str], known: set[str]) -> None:
    if wrong := sorted(set(names) - known):
        raise UserError(f"dataset.{part}: {what} {odd}: {wrong[0]!r}, and {len(wrong) - 1} more")


def _numbered(part: Sequence[Names], entities: Sequence[str], relations: Sequence[str]) -> tuple[Triple, ...]:
    entity = {name: number for number, name in enumerate(entities)}
    relation = {name: number for number, name in enumerate(relations)}
    return tuple(
        Triple(index, entity[head], relation[kind], entity[tail])
        for index, (head, kind, tail) in enumerate(part)
    )


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 at byte {error.start}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line
