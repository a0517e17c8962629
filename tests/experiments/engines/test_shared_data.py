"""What workers of a node share is what it was, in a few arrays."""

import pickle

import numpy as np
import pytest

from hauberk.experiments.engines.shared_data import FlatArrays, PackedExamples
from hauberk.tasks import Example

PARTS = [np.array([4, 2]), np.array([], np.int64), np.array([7])]
EXAMPLES = [Example(0, "one", None, 1), Example(5, "two", "more", 0), Example(2, "drei ä", None, 1)]


def test_many_arrays_are_one():
    flat = FlatArrays(PARTS, np.int64)
    assert [part.tolist() for part in flat] == [[4, 2], [], [7]]
    assert (len(flat), flat[-1].tolist(), [p.tolist() for p in flat[1:]]) == (3, [7], [[], [7]])
    assert flat[0].base is flat[2].base
    with pytest.raises(IndexError):
        flat[3]
    assert len(FlatArrays([], np.int64)) == 0


def test_examples_come_back_one_by_one():
    packed = PackedExamples(EXAMPLES)
    assert list(packed) == EXAMPLES
    assert (len(packed), packed[1], packed[1:]) == (3, EXAMPLES[1], EXAMPLES[1:])


def test_they_travel_as_a_number_of_buffers_that_does_not_grow():
    def buffers(n):
        found = []
        for one in (PackedExamples(EXAMPLES * n), FlatArrays(PARTS * n, np.int64)):
            pickle.dumps(one, 5, buffer_callback=found.append)
        return len(found)

    assert buffers(1) == buffers(100) == 4
