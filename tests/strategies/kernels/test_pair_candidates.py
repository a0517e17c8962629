import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.kernels import pair_candidates
from hauberk.strategies.kernels.pair_candidates import Candidates


@given(
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(1, 4),
    st.lists(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9)), max_size=40), max_size=6),
)
def test_the_largest_of_each_pair_are_kept_in_any_order(n_pairs, k, spare, offers):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_candidates, "_MOST", 8)
        patch.setattr(pair_candidates, "_TOGETHER", 12)
        candidates = Candidates(np.full(n_pairs, 0.5, dtype=np.float32), k, k + spare)
        every = [[] for _ in range(n_pairs)]
        for offer in offers:
            wanted = [(pair % n_pairs, value) for pair, value in offer]
            wanted = [(pair, value) for pair, value in wanted if value > candidates.floors[pair]]
            for pair, value in wanted:
                every[pair].append(value)
            values = np.array([value for _, value in wanted], dtype=np.float32)
            candidates.offer(values, np.array([pair for pair, _ in wanted], dtype=np.int32))
        sums, complete = candidates.sums()
    assert sums.tolist() == [sum(v * v for v in sorted(values)[-k:]) for values in every]
    assert complete.tolist() == [len(values) >= k for values in every]


def test_a_floor_rises_to_the_smallest_of_the_k_largest_when_there_is_no_room_left():
    candidates = Candidates(np.array([1.0, 1.0]), k=2, room=3)
    candidates.offer(np.array([3.0, 4.0, 2.0, 9.0]), np.array([0, 0, 0, 1]))
    assert candidates.floors.tolist() == [1, 1, np.inf]
    candidates.offer(np.array([5.0]), np.array([0]))
    assert candidates.floors.tolist() == [3, 1, np.inf]
    assert candidates.rises == 1
    assert candidates.sums()[0].tolist() == [41, 81]
