"""Flower's run configuration holds a spec without loss."""

from __future__ import annotations

import tomllib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hauberk.experiments.spec.flat import flat_spec, flatten, unflatten
from hauberk.experiments.spec.loader import parse

KEYS = st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=5)
TEXTS = st.builds(
    str.__add__, st.sampled_from(["", "[", '"', "[cf]", '["a", 1]', '"x"']), st.text(max_size=4)
)
SCALARS = st.integers() | st.floats(allow_nan=False) | st.booleans() | TEXTS
LISTS = st.lists(SCALARS | st.dictionaries(KEYS, SCALARS, max_size=2), max_size=3)
TABLES = st.recursive(
    SCALARS | LISTS, lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3), max_leaves=8
)


@given(st.dictionaries(KEYS, TABLES, max_size=4))
def test_nested_tables_come_back(tables):
    flat = flatten(tables)
    assert unflatten(flat) == tables
    assert all(isinstance(value, str | int | float | bool) for value in flat.values())


def test_a_text_that_reads_like_a_list_stays_a_text():
    tables = {
        "attack": {"poison": {"name": "bad_word", "words": ["[cf]", '"mn"'], "note": "[1, 2]"}},
        "name": '"x',
    }
    assert unflatten(flatten(tables)) == tables


def test_a_user_types_a_list_or_a_text_in_brackets():
    typed = {"a": "[1, 2]", "b": "[cf]", "c": "[", "d": '"', "e": "plain", "f": "[" * 10_000}
    assert unflatten(typed) == {**typed, "a": [1, 2]}


def test_a_resolved_spec_comes_back(tables):
    spec = parse(tables)
    assert parse(unflatten(flatten(spec.to_dict()))) == spec


def test_the_apps_own_configuration_is_a_spec():
    pyproject = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    run_config = flatten(pyproject["tool"]["flwr"]["app"]["config"])
    assert parse(unflatten(flat_spec(run_config))).federation.n_clients == 10
