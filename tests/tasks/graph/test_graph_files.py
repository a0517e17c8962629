"""Graphs in files: what is odd about them is one line that names the place."""

from __future__ import annotations

import pytest

from hauberk.tasks.errors import UserError
from hauberk.tasks.graph.datasets import Files
from hauberk.tasks.graph.models import TransE

GOOD = {
    "train.tsv": "a\tr\tb\nb\ts\tc\n",
    "test.tsv": "a\tr\tc\n",
    "entities.txt": "a\tfirst letter\nb\tsecond letter\nc\tthird letter\n",
    "relations.txt": "r\tprecedes\ns\tfollows\n",
}


@pytest.fixture
def files(tmp_path):
    """Writes the files, with some replaced, and returns the data set of them."""

    def write(**changed: str) -> Files:
        for name, text in GOOD.items():
            (tmp_path / name).write_text(changed.get(name.partition(".")[0], text))
        path = {name: str(tmp_path / name) for name in GOOD}
        return Files(
            train=path["train.tsv"], test=path["test.tsv"],
            entities=path["entities.txt"], relations=path["relations.txt"],
        )  # fmt: skip

    return write


def test_a_graph_is_read(files):
    graph = files().load()
    assert graph.entities == ("a", "b", "c")
    assert graph.entity_texts[2] == "third letter"
    assert [(each.head, each.relation, each.tail) for each in graph.train] == [(0, 0, 1), (1, 1, 2)]
    assert graph.validation is None


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"entities": "a\tfirst\nb\tsecond\n"}, r"task\.dataset\.train: an entity without a text: 'c', and 0 more"),
        ({"relations": "r\tprecedes\n"}, r"task\.dataset\.train: a relation without a text: 's'"),
        ({"test": "a\tq\tc\n"}, r"task\.dataset\.test: a relation not in the training triples: 'q'"),
        ({"test": "a\tr\tb\n"}, r"task\.dataset: 1 triples stand both in train and in test, such as a r b"),
        ({"train": "a\tr\n"}, r"train\.tsv line 1: must be head, relation and tail .* got 2 columns"),
        ({"train": "\n"}, r"train\.tsv: holds no triples"),
        ({"entities": "a\n"}, r"entities\.txt line 1: must be a name, a tab and its text"),
        ({"entities": "a\tx\na\ty\n"}, r"entities\.txt line 2: 'a' comes a second time"),
    ],
)  # fmt: skip
def test_what_is_odd_is_one_line(files, changed, line):
    with pytest.raises(UserError, match=line) as caught:
        files(**changed).load()
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named():
    with pytest.raises(UserError, match=r"nowhere\.tsv: cannot be read: No such file"):
        Files(train="nowhere.tsv", test="nowhere.tsv").load()


def test_without_pykeen_the_error_names_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"'pykeen' is not installed: pip install 'hauberk\[kge\]'"):
        TransE().interaction()
