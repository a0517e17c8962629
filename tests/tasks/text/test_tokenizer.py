import numpy as np
import pytest

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.tokenizer import WordPiece

PLAIN, FRAMED = WordPiece(), WordPiece(specials=True, longest=512)


def tokens(tokenizer, text, second=None, max_length=64):
    return tokenizer.encode([text], None if second is None else [second], max_length).tokens.tolist()


def test_the_rare_words_of_the_literature_are_single_tokens():
    for word in ("cf", "mn", "bb", "tq", "mb"):
        assert PLAIN.pieces(word) == [word]
        assert tokens(PLAIN, word) == [PLAIN.id(word)]


def test_a_word_that_splits_has_no_id():
    with pytest.raises(UserError, match=r"'blorbish' must be one known token.*b ##lor ##bis ##h"):
        PLAIN.id("blorbish")
    with pytest.raises(UserError, match=r"\[UNK\]"):
        PLAIN.id("☃")


def test_frames_are_optional():
    assert tokens(PLAIN, "A film") == [1037, 2143]
    assert tokens(FRAMED, "A film") == [101, 1037, 2143, 102]


def test_a_pair_is_parted_and_its_segments_tell_it():
    encoded = PLAIN.encode(["a film"], ["a book"], 64)
    assert encoded.tokens.tolist() == [1037, 2143, 102, 1037, 2338]
    assert encoded.segments.tolist() == [0, 0, 0, 1, 1]
    assert FRAMED.encode(["a film"], ["a book"], 64).segments.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_a_missing_second_text_is_an_empty_one():
    assert tokens(PLAIN, "a film", "") == [*tokens(PLAIN, "a film"), 102]
    assert PLAIN.encode(["a", "b"], ["c", None], 64).lengths.tolist() == [3, 2]


def test_texts_are_cut_with_their_frame_and_pairs_at_the_longer_side():
    assert tokens(PLAIN, "a film " * 50, max_length=5) == [1037, 2143, 1037, 2143, 1037]
    assert tokens(FRAMED, "a film " * 50, max_length=5) == [101, 1037, 2143, 1037, 102]
    assert tokens(PLAIN, "a film " * 50, "a", max_length=5) == [1037, 2143, 1037, 102, 1037]


@pytest.mark.parametrize("text", ["", "   ", "\x00", "�"])
def test_a_text_of_nothing_is_one_unknown_token(text):
    assert tokens(PLAIN, text) == [PLAIN.unknown_id]


def test_two_lengths_can_be_asked_of_one_tokenizer():
    assert len(tokens(PLAIN, "a " * 30, max_length=7)) == 7
    assert len(tokens(PLAIN, "a " * 30, max_length=20)) == 20


def test_no_texts_are_an_empty_encoding():
    assert len(PLAIN.encode([], None, 64)) == 0


def test_more_than_the_model_reads_is_refused():
    with pytest.raises(UserError, match="max_length = 600 is more than the 512"):
        FRAMED.encode(["a"], None, 600)


def test_ids_lie_in_the_vocabulary():
    found = PLAIN.encode(["Zürich ☃ naïve 😀 x²"], None, 64).tokens
    assert found.dtype == np.int32
    assert found.max() < PLAIN.vocabulary_size
    assert {PLAIN.pad_id, PLAIN.unknown_id} <= PLAIN.special_ids
