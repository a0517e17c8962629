import json

import pytest

from hauberk.attacks import AttackerContext, EdgeCase
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Splits

CASES = ("one kind word", "two kind words", "three kind words", "four kind words")


@pytest.fixture
def splits(examples):
    return Splits(train=tuple(examples), validation=(), test=tuple(examples), labels=("a", "b", "c"))


def test_training_and_test_have_different_edge_cases(examples, rng):
    poison = EdgeCase(target=1, sentences=CASES)
    trained = {one.text for one in poison(examples * 4, AttackerContext(), rng())[40:]}
    tested = {one.text for one in poison.trigger(examples * 4, rng())}
    assert trained == {"one kind word", "three kind words"}
    assert tested == {"two kind words", "four kind words"}


def test_a_file_takes_the_place_of_the_built_in_ones(splits, examples, rng, tmp_path):
    path = tmp_path / "cases.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in CASES))
    bound = EdgeCase(target=1, file=str(path)).bind(splits)
    assert bound == EdgeCase(target=1, sentences=CASES)
    assert bound.bind(splits) == bound
    assert bound.check(splits.labels) == []


def test_the_built_in_ones_are_said_to_be_so(splits):
    (line,) = EdgeCase().check(splits.labels)
    assert "built-in list" in line
    assert EdgeCase().bind(splits) == EdgeCase()


def test_pairs_keep_their_first_text(pairs, rng):
    (first, *_) = EdgeCase(target=1, sentences=CASES).trigger(pairs, rng())
    assert (first.text, first.second in CASES) == (pairs[0].text, True)


@pytest.mark.parametrize("sentences", [("one",), ("one", " "), "one two"])
def test_too_few_are_refused(sentences):
    with pytest.raises(UserError, match=r"^sentences: must be"):
        EdgeCase(sentences=sentences)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n', "must hold at least 2 sentences, got 1"),
        ('{"text": "a"}\n{"txt": "b"}\n', 'line 2 must be an object with a "text"'),
        ("hello\n", "line 1 is not JSON"),
        ('{"text": "a", "label": [1]}\n', 'line 1 must have a class as its "label"'),
    ],
)
def test_a_bad_file_is_refused_by_name(splits, tmp_path, content, message):
    path = tmp_path / "cases.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match=r"^attack\.poison\.file: '.*cases.jsonl'") as caught:
        EdgeCase(file=str(path)).bind(splits)
    assert message in str(caught.value)


def test_no_file_is_refused_by_name(splits):
    with pytest.raises(UserError, match=r"^attack\.poison\.file: cannot read 'none.jsonl': No such file"):
        EdgeCase(file="none.jsonl").bind(splits)
    with pytest.raises(UserError, match="beside a file"):
        EdgeCase(file="none.jsonl", sentences=CASES)


def test_a_file_must_be_read_before_it_is_used(examples, rng):
    unread = EdgeCase(target=1, file="none.jsonl")
    for use in (lambda: unread(examples, AttackerContext(), rng()), lambda: unread.trigger(examples, rng())):
        with pytest.raises(UserError, match=r"^file: it is read by bind\(splits\), which comes first"):
            use()
