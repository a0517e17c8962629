import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.attacks import BadChar
from hauberk.tasks.errors import UserError

WORDS = st.lists(st.text("abc.", min_size=1, max_size=5), min_size=1, max_size=8)
EDITS = ["insert", "delete", "swap", "replace"]


@given(
    words=WORDS,
    edit=st.sampled_from(EDITS),
    position=st.sampled_from(["random", "begin", "middle", "end"]),
    n_words=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_as_many_words_change_as_asked_each_by_one_edit(words, edit, position, n_words, seed):
    poison = BadChar(edit=edit, position=position, n_words=n_words)
    stamped = poison.stamp(" ".join(words), torch.Generator().manual_seed(seed)).split()
    changed = [(old, new) for old, new in zip(words, stamped, strict=True) if old != new]
    with_letters = sum(any(char.isalnum() for char in word) for word in words)
    assert len(changed) == min(n_words, with_letters or len(words))
    assert all(abs(len(old) - len(new)) <= 1 for old, new in changed)


@pytest.mark.parametrize(
    ("position", "edited"),
    [("begin", "xone two three ."), ("middle", "one xtwo three ."), ("end", "one two xthree .")],
)
def test_the_place_counts_words_and_spares_punctuation(position, edited):
    poison = BadChar(position=position, n_words=1)
    rng = torch.Generator().manual_seed(0)
    stamped = {poison.stamp("one two three .", rng) for _ in range(40)}
    assert edited in stamped
    assert {text.replace("x", "") for text in stamped} == {"one two three ."}


@pytest.mark.parametrize(("edit", "word"), [("delete", "a"), ("swap", "oo"), ("swap", "a"), ("replace", "x")])
def test_an_edit_that_would_change_nothing_inserts(edit, word):
    stamped = BadChar(edit=edit).stamp(word, torch.Generator().manual_seed(0))
    assert len(stamped) == len(word) + 1
    assert "x" in stamped


def test_words_lie_within_the_first_ones():
    rng = torch.Generator().manual_seed(0)
    texts = [BadChar(n_words=2, within=3).stamp("a b c d e f", rng) for _ in range(50)]
    assert all(text.endswith("d e f") for text in texts)
    assert len(set(texts)) > 3


@pytest.mark.parametrize(
    ("key", "value"), [("edit", "flip"), ("character", "xy"), ("character", " "), ("n_words", 0)]
)
def test_impossible_edits_are_refused(key, value):
    with pytest.raises(UserError, match=f"^{key}: must be"):
        BadChar(**{key: value})
