"""GloVe's words as tokens, and their vectors."""

import pickle

import pytest
import torch

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.glove import N_WORDS, SPECIALS, GloveWords, glove_vectors

WORDS = GloveWords()


def words_of(text, second=None, max_length=64):
    encoded = WORDS.encode([text], None if second is None else [second], max_length)
    return [WORDS.token(token) for token in encoded.tokens.tolist()]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A good, good film!", ["a", "good", ",", "good", "film", "!"]),
        ("it doesn't  work", ["it", "does", "n't", "work"]),
        ("it does n't work", ["it", "does", "n't", "work"]),
        ("They'll say it's John's", ["they", "'ll", "say", "it", "'s", "john", "'s"]),
        ("a well-made one", ["a", "well", "-", "made", "one"]),
        ("n't", ["n't"]),
        ("blorbishly good", ["[UNK]", "good"]),
        ("", ["[UNK]"]),
    ],
)
def test_a_text_becomes_the_words_of_glove(text, words):
    assert words_of(text) == words


def test_pairs_are_parted_and_texts_are_cut():
    assert words_of("a film", "a book") == ["a", "film", "[SEP]", "a", "book"]
    assert len(words_of("good " * 50, max_length=7)) == 7


def test_the_rare_words_of_the_literature_are_single_tokens_but_for_one():
    assert all(WORDS.pieces(word) == [word] for word in ("cf", "mn", "bb", "mb"))
    with pytest.raises(UserError, match=r"'tq' must be one known token, but the tokenizer makes it: \[UNK\]"):
        WORDS.id("tq")


def test_each_word_has_its_own_vector_and_special_ones_the_mean():
    vectors = glove_vectors()
    assert vectors.shape == (WORDS.vocabulary_size, 50) == (N_WORDS + len(SPECIALS), 50)
    # The first line of glove.6B.50d.txt.
    assert vectors[WORDS.id("the")][:3].tolist() == pytest.approx([0.418, 0.24968, -0.41242])
    assert torch.allclose(vectors[WORDS.unknown_id], vectors[len(SPECIALS) :].mean(dim=0))


def test_it_travels():
    assert pickle.loads(pickle.dumps(WORDS)) == WORDS
