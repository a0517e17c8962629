"""Records: JSON for every reader, numbers that come back, and one line where a file is damaged."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hauberk.experiments.runner.records import read_rounds, read_run, read_summary, to_json
from hauberk.tasks.errors import UserError

NUMBERS = st.floats() | st.integers() | st.none() | st.booleans() | st.text(max_size=3)
KEYS = st.text(max_size=4).filter(lambda key: key != "not_finite")
VALUES = st.recursive(
    NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
LINE = {
    "round": 1,
    "accuracy": 0.5,
    "refused": {},
    "malicious": [0],
    "weights": {"0": 1.0},
    "forensics": {},
    "wall": 0.1,
}
SUMMARY = {
    "name": "x", "spec_hash": "a", "aggregator": "fedavg", "attack": None, "rounds": 1, "model_sha256": "b",
    "final": {"accuracy": 0.5}, "seconds": 1.0,
}  # fmt: skip


def refuse(word):
    raise AssertionError(f"{word} is no JSON")


def same(left, right):
    return repr(left) == repr(right)  # NaN included


@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_whatever_the_numbers_it_is_json_and_comes_back(tmp_path_factory, values):
    text = to_json({**SUMMARY, "report": values})
    json.loads(text, parse_constant=refuse)
    path = tmp_path_factory.mktemp("records") / "summary.json"
    path.write_text(text, encoding="utf8")
    assert same(read_summary(path), {**SUMMARY, "report": values})


def test_null_stands_beside_its_reason(tmp_path):
    line = {
        **LINE,
        "accuracy": math.nan,
        "forensics": {"theory/a.b": -math.inf, "n": 1},
        "seconds": [1, math.inf],
    }
    text = to_json(line)
    plain = json.loads(text, parse_constant=refuse)
    assert plain["accuracy"] is None
    assert plain["not_finite"] == {
        "accuracy": "nan", "forensics": {"theory/a.b": "-inf"}, "seconds": {"1": "inf"},
    }  # fmt: skip
    (tmp_path / "rounds.jsonl").write_text(text + "\n")
    assert same(read_rounds(tmp_path), [line])


def test_a_last_line_cut_short_does_not_count_and_any_other_is_told(tmp_path):
    good = to_json(LINE)
    path = tmp_path / "rounds.jsonl"
    path.write_text(f"{good}\n{good[:30]}")
    assert read_rounds(tmp_path) == [LINE]
    path.write_text(f"{good}\n{good[:30]}\n{good}\n")
    with pytest.raises(UserError, match=r"rounds\.jsonl line 2: damaged: Invalid JSON"):
        read_rounds(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"round": "1"}, "round: Input should be a valid integer"),
        ({"round": 0}, "round: Input should be greater than or equal to 1"),
        ({"weights": {"0": "much"}}, "weights.0: Input should be a valid number"),
        ({"refused": None}, "refused: Input should be an object"),
        ({"not_finite": {"absent": {"key": "nan"}}}, "not_finite does not fit the record"),
        ({"not_finite": 3}, "not_finite does not fit the record"),
    ],
)
def test_a_wrong_kind_in_a_round_is_one_line(tmp_path, change, message):
    (tmp_path / "rounds.jsonl").write_text(json.dumps({**LINE, **change}) + "\n")
    with pytest.raises(UserError) as caught:
        read_rounds(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", [*SUMMARY, "all of it"])
def test_a_summary_without_a_key_is_one_line(tmp_path, key):
    whole = (
        "[]" if key == "all of it" else json.dumps({name: SUMMARY[name] for name in SUMMARY if name != key})
    )
    (tmp_path / "spec.toml").write_text("name = 'x'\n")
    (tmp_path / "summary.json").write_text(whole)
    with pytest.raises(UserError, match=r"summary\.json: damaged: ") as caught:
        read_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_spec_that_is_no_toml_or_no_text_is_one_line(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    for blob, message in ((b"name = ", "damaged"), (b"\xff\xfe", "cannot be read")):
        (tmp_path / "spec.toml").write_bytes(blob)
        with pytest.raises(UserError, match=rf"spec\.toml: {message}") as caught:
            read_run(tmp_path)
        assert "\n" not in str(caught.value)
