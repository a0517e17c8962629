from itertools import combinations

import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.strategies.kernels.gap_statistic import higher_of_two, least_squares, more_than_one_group

NUMBERS = st.lists(st.integers(-50, 50), min_size=2, max_size=8)


def rng():
    return torch.Generator().manual_seed(0)


def squares(values):
    return sum((value - sum(values) / len(values)) ** 2 for value in values)


@given(NUMBERS)
def test_the_least_squares_are_those_of_all_divisions(values):
    places = range(len(values))
    best = min(
        squares([values[i] for i in low]) + squares([values[i] for i in places if i not in low])
        for size in range(1, len(values))
        for low in combinations(places, size)
    )
    found = least_squares(torch.tensor(values).double())
    torch.testing.assert_close(
        found, torch.tensor([squares(values), best], dtype=torch.float64), rtol=1e-9, atol=1e-9
    )


def test_the_higher_of_two_groups():
    assert higher_of_two(torch.tensor([1.0, 9.0, 2.0, 8.0, 1.5])).tolist() == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_what_lies_apart_is_more_than_one_group_and_what_is_even_is_not():
    even = torch.linspace(0, 1, 20)
    assert not more_than_one_group(even, rng())
    assert more_than_one_group(torch.cat([0.01 * even, 1 + 0.01 * even[:5]]), rng())


def test_few_numbers_and_equal_ones_are_one_group():
    for values in ([], [1.0], [1.0, 2.0], [3.0] * 10):
        assert not more_than_one_group(torch.tensor(values), rng())
