"""The digest of values: told apart by what they hold, and the same in every process."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hauberk.tasks.digest import digest_of
from hauberk.tasks.text.examples import Example, Splits

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@dataclass(frozen=True)
class Holder:
    value: Any


@given(VALUES, VALUES)
def test_two_values_have_one_digest_only_where_they_are_the_same(left, right):
    assert (digest_of(left) == digest_of(right)) == (repr(left) == repr(right))


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_where_one_text_ends_and_the_next_begins_counts(left, right):
    assert (digest_of([left, right]) == digest_of([left + right])) is False
    assert (digest_of(left) == digest_of(right)) == (left == right)


def test_data_differ_by_one_letter_one_label_or_their_order():
    examples = (Example(0, "good day", None, 1), Example(1, "bad day", None, 0))
    splits = Splits(train=examples, validation=(), test=examples[:1], labels=("a", "b"))
    others = (
        replace(splits, train=(replace(examples[0], text="good dax"), examples[1])),
        replace(splits, train=(replace(examples[0], label=0), examples[1])),
        replace(splits, train=examples[::-1]),
        replace(splits, validation=examples[:1], test=()),
        replace(splits, labels=("b", "a")),
    )
    assert len({digest_of(each) for each in (splits, *others)}) == 6
    assert digest_of(splits) == digest_of(deepcopy(splits))


def test_tensors_and_arrays_count_by_kind_shape_and_numbers():
    values = [
        torch.zeros(4), torch.zeros(2, 2), torch.zeros(4, dtype=torch.bfloat16), torch.ones(4), np.zeros(4),
        np.zeros(4, np.float32), torch.tensor(0.0), torch.nn.Linear(1, 1),
    ]  # fmt: skip
    assert len({digest_of(Holder(value)) for value in values}) == len(values)
    column = torch.arange(6.0).reshape(2, 3).t()
    assert digest_of(column) == digest_of(column.contiguous())


class Bare:
    pass


class Keyed:
    def __init__(self, key):
        self.hash_key = key


@pytest.mark.parametrize("value", [Bare(), lambda: 1, Holder(Bare()), [Holder({"a": Bare()})]])
def test_what_shows_only_its_address_is_refused(value):
    with pytest.raises(TypeError, match="shows nothing but its address"):
        digest_of(value)


def test_a_hash_key_stands_for_what_an_object_holds():
    assert digest_of(Keyed(1)) == digest_of(Keyed(1)) != digest_of(Keyed(2))
