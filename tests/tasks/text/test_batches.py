import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.tasks.seeds import generator
from hauberk.tasks.text.batches import CHUNK, SHORTEST, collate, evaluation_batches, training_batches
from hauberk.tasks.text.encoding import concatenate, encoded_from

PAD, UNKNOWN = 0, 100
sequences = st.lists(st.lists(st.integers(1, 99), max_size=12), min_size=1, max_size=40)


def encode(lists):
    return encoded_from(lists, None, PAD, UNKNOWN)


def texts(batch):
    return [row[mask].tolist() for row, mask in zip(batch.tokens, batch.mask, strict=True)]


@given(sequences, st.integers(1, 7), st.integers(0, 5))
def test_training_batches_hold_every_text_once_and_whole(lists, batch_size, seed):
    batches = list(training_batches(encode(lists), batch_size, generator(seed)))
    assert all(len(batch) <= batch_size for batch in batches)
    found = {int(row): text for batch in batches for row, text in zip(batch.rows, texts(batch), strict=True)}
    assert [found[row] for row in range(len(lists))] == [text or [UNKNOWN] for text in lists]
    assert sum(len(batch) for batch in batches) == len(lists)


@given(sequences, st.integers(1, 7))
def test_evaluation_batches_hold_every_text_once_and_whole(lists, batch_size):
    found = {}
    for batch in evaluation_batches(encode(lists), batch_size):
        found |= dict(zip(batch.rows.tolist(), texts(batch), strict=True))
    assert [found[row] for row in range(len(lists))] == [text or [UNKNOWN] for text in lists]


@given(sequences, st.lists(st.integers(0, 1000), max_size=30))
def test_take_picks_any_rows_in_any_order(lists, wanted):
    rows = [row % len(lists) for row in wanted]
    taken = encode(lists).take(rows)
    got = [taken.tokens[taken.offsets[i] : taken.offsets[i + 1]].tolist() for i in range(len(taken))]
    assert got == [lists[row] or [UNKNOWN] for row in rows]
    assert taken.index.tolist() == rows


def test_one_seed_one_order_and_another_seed_another():
    encoded = encode([[n] * (1 + n % 9) for n in range(1, 90)])
    orders = [[b.rows.tolist() for b in training_batches(encoded, 8, generator(seed))] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_texts_of_like_length_share_a_batch_and_short_batches_come_in_no_order():
    lengths = generator(0), (CHUNK * 4,)
    encoded = encode([[1] * n for n in torch.randint(5, 60, lengths[1], generator=lengths[0]).tolist()])
    batches = list(training_batches(encoded, 4, generator(0)))
    padding = sum(int((~batch.mask).sum()) for batch in batches)
    assert padding < 0.05 * len(encoded.tokens)
    widths = [batch.tokens.shape[1] for batch in batches]
    assert widths != sorted(widths)


def test_a_batch_is_at_least_as_long_as_the_widest_filter():
    batch = collate(encode([[7]]), np.array([0]))
    assert batch.tokens.tolist() == [[7] + [PAD] * (SHORTEST - 1)]
    assert batch.mask.tolist() == [[True] + [False] * (SHORTEST - 1)]


def test_padding_and_segments_follow_the_tokenizer():
    encoded = encoded_from([[5, 6], [7, 8, 9, 5, 6, 7]], [[0, 1], [0, 0, 0, 1, 1, 1]], 1, UNKNOWN)
    batch = collate(encoded, np.array([0, 1]))
    assert batch.tokens[0].tolist() == [5, 6, 1, 1, 1, 1]
    assert batch.segments.tolist() == [[0, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1]]


def test_joining_keeps_order_and_marks_single_texts_as_first_segments():
    joined = concatenate([encode([[1, 2], [3]]), encoded_from([[4, 5]], [[0, 1]], PAD, UNKNOWN)])
    assert joined.tokens.tolist() == [1, 2, 3, 4, 5]
    assert joined.offsets.tolist() == [0, 2, 3, 5]
    assert joined.segments.tolist() == [0, 0, 0, 0, 1]


def test_encodings_of_two_tokenizers_are_not_joined():
    with pytest.raises(ValueError, match="one tokenizer"):
        concatenate([encode([[1]]), encoded_from([[1]], None, 9, UNKNOWN)])


def test_labels_must_be_as_many_as_texts():
    with pytest.raises(ValueError, match="2 texts need as many labels, got 1"):
        encode([[1], [2]]).labelled(np.zeros(1, np.int64), np.zeros(1, np.int64))


def test_read_only_arrays_make_batches_and_encodings_pickle():
    encoded = pickle.loads(pickle.dumps(encode([[1, 2], [3]])))
    for array in (encoded.tokens, encoded.offsets, encoded.labels, encoded.index):
        array.setflags(write=False)
    assert [texts(batch) for batch in evaluation_batches(encoded, 2)] == [[[3], [1, 2]]]
